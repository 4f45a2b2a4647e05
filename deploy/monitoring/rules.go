package monitoring

import (
	"bytes"

	"go.yaml.in/yaml/v4"
)

type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// alerts wake somebody (page) or wait for the morning (ticket). Each says what to do.
var alerts = []rule{
	alert("AmendsDown", "absent(amends_build_info)", "2m", "page",
		"No amends process is seen.", "Sagas stand still; nothing is lost. Look at the processes and at whether Prometheus reaches them."),
	alert("AmendsTaskHalted", `sum by (instance) (amends_task_state{state="halted"}) > 0`, "1m", "page",
		"{{ $value }} tasks of {{ $labels.instance }} have halted.", "They wait for a person: the reason is in the log of that process and under /readyz. Their instances stand still."),
	alert("AmendsNeedsPerson", "sum by (saga, reason) (increase(amends_instances_attention_total[15m])) > 0", "", "ticket",
		"Instances of {{ $labels.saga }} wait for a person: {{ $labels.reason }}.", "amends ls --attention lists them, amends get shows one with what can be done."),
	alert("AmendsPersonLate", "max(amends_instances_attention_oldest_seconds) > 3600", "5m", "ticket",
		"An instance has waited for a person for {{ $value | humanizeDuration }}.", "The page Attention has the oldest first; amends explain TYPE/ID says what can be done."),
	alert("AmendsAttentionGrows", "sum by (saga) (amends_instances_attention) > 10 and sum by (saga) (delta(amends_instances_attention[30m])) > 0", "30m", "page",
		"{{ $value }} instances of {{ $labels.saga }} need a person, and there are more all the time.", "One cause is behind most of them: the page Attention groups them by it. Repair that first, then all of a group at once."),
	alert("AmendsDeadLettersGrow", "sum by (reason) (rate(amends_dead_letters_total[10m])) > 0", "30m", "page",
		"Records have been set aside for half an hour: {{ $labels.reason }}.", "A producer or a participant goes on sending what cannot be used. amends dlq list shows what; whoever sends it has to stop or change."),
	alert("AmendsDeadLetters", "sum by (reason) (increase(amends_dead_letters_total[15m])) > 0", "", "ticket",
		"Records were set aside: {{ $labels.reason }}.", "They are in the topic <namespace>.saga.dlq with the reason in their headers. Repair the cause and send them again."),
	alert("AmendsTransactionsFail", `sum by (instance) (rate(amends_transactions_total{outcome!="committed"}[5m])) / sum by (instance) (rate(amends_transactions_total[5m])) > 0.05`, "10m", "page",
		"{{ $value | humanizePercentage }} of the transactions of {{ $labels.instance }} fail.", "They are done again, so nothing is lost, but throughput is. Look at the brokers: min.insync.replicas, coordinators, disk."),
	alert("AmendsSlow", "histogram_quantile(0.99, sum by (le) (rate(amends_event_to_command_seconds_bucket[5m]))) > 5", "10m", "page",
		"One of a hundred transactions holds records that waited {{ $value | humanizeDuration }}.", "More load than the processes take, or slow brokers: compare transaction duration with records per second."),
	alert("AmendsLag", "sum by (topic) (amends_consumer_lag_records) > 10000", "10m", "page",
		"{{ $value }} records of {{ $labels.topic }} wait.", "More load than the processes take, or tasks that stand still: compare amends_task_state and transaction duration."),
	alert("AmendsDestinationOpen", "max by (topic) (amends_destination_open) > 0", "5m", "ticket",
		"The topic {{ $labels.topic }} takes nothing; what is for it waits.", "It may be missing, or this principal may not write to it: the log says which, and amends explain TYPE/ID of one that waits. amends_destination_waiting counts them."),
	alert("AmendsAlertsNotDelivered", `sum by (instance) (increase(amends_alert_deliveries_total{outcome="failed"}[10m])) > 3`, "", "ticket",
		"Alerts of {{ $labels.instance }} do not reach their webhook or topic.", "They are tried again and not lost. Its log says what the receiver answers."),
	alert("AmendsTimersLate", "histogram_quantile(0.99, sum by (le) (rate(amends_timer_lag_seconds_bucket[5m]))) > 10", "10m", "page",
		"Timers fire {{ $value | humanizeDuration }} late.", "Deadlines and retries are late by that. As for AmendsSlow."),
	alert("AmendsRestoring", "sum by (instance) (amends_restore_remaining_records) > 0", "15m", "ticket",
		"{{ $labels.instance }} has been restoring for a quarter of an hour.", "Its disk was empty or its copy too old. The tasks that it restores stand still unless another process has them."),
	alert("AmendsStandbyBehind", "max by (instance) (amends_standby_lag_records) > 10000", "15m", "ticket",
		"A standby of {{ $labels.instance }} has lacked more than 10 000 records for a quarter of an hour.", "If its task's process dies now, the task stands still until the rest is read. The log and /readyz of that process say why it is not getting on."),
	alert("AmendsVersionsDiffer", "count(count by (version) (amends_build_info)) > 1", "2h", "ticket",
		"Processes of different versions run side by side.", "A roll has stopped half way. Features of the newer version wait until it is finished."),
	alert("AmendsRebalances", "sum(increase(amends_rebalances_total[10m])) > 60", "10m", "ticket",
		"Tasks move all the time.", "A process that comes and goes, or a network that does. Look at restarts and at session timeouts in the log."),
}

func alert(name, expr, wait, severity, summary, action string) rule {
	return rule{Alert: name, Expr: expr, For: wait, Labels: map[string]string{"severity": severity},
		Annotations: map[string]string{"summary": summary, "action": action}}
}

// Rules is the rule file for Prometheus.
func Rules() ([]byte, error) {
	type group struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	err := enc.Encode(map[string]any{"groups": []group{{Name: "amends", Rules: alerts}}})
	return b.Bytes(), err
}
