package monitoring

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// panel is one graph: what it says, and the queries with their legends.
type panel struct {
	title, about, unit string
	queries            [][2]string // expression, legend
}

type row struct {
	title  string
	panels []panel
}

const (
	interval = "$__rate_interval"
)

func rate(metric, by, more string) string {
	return fmt.Sprintf("sum by (%s) (rate(%s{%s}[%s]))", by, metric, more, interval)
}

func quantile(q, metric, by string) string {
	if by != "" {
		by = ", " + by
	}
	return fmt.Sprintf("histogram_quantile(%s, sum by (le%s) (rate(%s_bucket[%s])))", q, by, metric, interval)
}

// rows is the dashboard, from what the business asks to what the machine does.
var rows = []row{
	{"Sagas", []panel{
		{"Started", "Instances that began, by saga.", "ops", [][2]string{{rate("amends_instances_started_total", "saga", ""), "{{saga}}"}}},
		{"Ended", "How they ended. A rise of compensated is what a participant's trouble looks like.", "ops", [][2]string{{rate("amends_instances_finished_total", "saga, outcome", ""), "{{saga}} {{outcome}}"}}},
		{"Under way", "Instances by status.", "short", [][2]string{{"sum by (status) (amends_instances_active)", "{{status}}"}}},
		{"Need a person", "Times that an instance began to wait for somebody, by reason. The page Attention has them.", "short", [][2]string{{"sum by (saga, reason) (increase(amends_instances_attention_total[1h]))", "{{saga}} {{reason}}"}}},
		{"Need a person now", "How many wait for somebody.", "short", [][2]string{{"sum by (saga) (amends_instances_attention)", "{{saga}}"}}},
		{"Waiting for a person, longest", "For how long the one that has waited longest has needed somebody.", "s", [][2]string{{"max(amends_instances_attention_oldest_seconds)", "oldest"}}},
		{"Duration, p50 and p99", "From the start of an instance to its end.", "s", [][2]string{
			{quantile("0.5", "amends_instance_duration_seconds", "saga"), "{{saga}} p50"}, {quantile("0.99", "amends_instance_duration_seconds", "saga"), "{{saga}} p99"}}},
	}},
	{"Participants", []panel{
		{"Answers", "Answers to do commands, by step and outcome.", "ops", [][2]string{{rate("amends_step_attempts_total", "saga, step, outcome", ""), "{{saga}}/{{step}} {{outcome}}"}}},
		{"Step duration, p99", "From the first command of a step to its success.", "s", [][2]string{{quantile("0.99", "amends_step_duration_seconds", "saga, step"), "{{saga}}/{{step}}"}}},
		{"Commands", "Commands sent, forward and back, retries included.", "ops", [][2]string{{rate("amends_commands_total", "direction", ""), "{{direction}}"}}},
		{"Topics that take nothing", "Breakers of topics of others: 1 open, 0.5 half-open.", "short", [][2]string{{"max by (topic) (amends_destination_open)", "{{topic}}"}}},
		{"Undo answers", "Answers to undo commands. Anything but ok is a debt that is still open.", "ops", [][2]string{{rate("amends_undo_total", "saga, outcome", ""), "{{saga}} {{outcome}}"}}},
	}},
	{"Bridges", []panel{
		{"Requests", "Requests that bridges made, retries included, by outcome.", "ops", [][2]string{{rate("amends_bridge_tries_total", "bridge, destination, outcome", ""), "{{bridge}} {{destination}} {{outcome}}"}}},
		{"Request duration, p99", "How long a destination takes to answer.", "s", [][2]string{{quantile("0.99", "amends_bridge_try_duration_seconds", "bridge, destination"), "{{bridge}} {{destination}}"}}},
		{"Replies", "Commands that were answered, by outcome.", "ops", [][2]string{{rate("amends_bridge_replies_total", "bridge, op, outcome", ""), "{{bridge}} {{op}} {{outcome}}"}}},
		{"Calls", "Calls that are under way or wait, by destination.", "short", [][2]string{{"sum by (bridge, destination) (amends_bridge_calls)", "{{bridge}} {{destination}}"}}},
		{"Destinations left alone", "1 while a breaker is open: nothing is asked of the destination, and its calls wait.", "short", [][2]string{{"max by (bridge, destination) (amends_bridge_breaker_open)", "{{bridge}} {{destination}}"}}},
		{"Passed over", "Records of command topics that no bridge answers, by reason.", "short", [][2]string{{"sum by (bridge, reason) (increase(amends_bridge_skipped_total[1h]))", "{{bridge}} {{reason}}"}}},
	}},
	{"Engine", []panel{
		{"Event to command, p50 and p99", "From the oldest input record of a transaction to its commit.", "s", [][2]string{
			{quantile("0.5", "amends_event_to_command_seconds", ""), "p50"}, {quantile("0.99", "amends_event_to_command_seconds", ""), "p99"}}},
		{"Transactions", "By outcome. Anything but committed is done again.", "ops", [][2]string{{rate("amends_transactions_total", "outcome", ""), "{{outcome}}"}}},
		{"Transaction duration, p99", "From begin to end.", "s", [][2]string{{quantile("0.99", "amends_transaction_duration_seconds", "instance"), "{{instance}}"}}},
		{"Waiting records", "Records of the input topics behind the positions of the tasks.", "short", [][2]string{{"sum by (topic) (amends_consumer_lag_records)", "{{topic}}"}}},
		{"Timers", "Active instances with a timer.", "short", [][2]string{{"sum(amends_timers_pending)", "pending"}}},
		{"Timers late by, p99", "By how much the latest timer of a transaction was late.", "s", [][2]string{{quantile("0.99", "amends_timer_lag_seconds", ""), "late"}}},
		{"Records", "Input records and timers taken, by process.", "ops", [][2]string{{rate("amends_records_total", "instance", ""), "{{instance}} records"}, {rate("amends_timers_fired_total", "instance", ""), "{{instance}} timers"}}},
		{"Expressions stopped", "At their cost limit. The instances need a person.", "short", [][2]string{{"sum by (saga) (increase(amends_expression_cost_exceeded_total[1h]))", "{{saga}}"}}},
		{"Dead letters", "Records set aside, by reason.", "short", [][2]string{{"sum by (reason) (increase(amends_dead_letters_total[1h]))", "{{reason}}"}}},
	}},
	{"Cluster", []panel{
		{"Tasks", "Tasks by state. A halted one needs a person; its reason is in the log and under /readyz.", "short", [][2]string{{"sum by (state) (amends_task_state)", "{{state}}"}}},
		{"Left to restore", "Changelog records that tasks have yet to load.", "short", [][2]string{{"sum by (instance) (amends_restore_remaining_records)", "{{instance}}"}}},
		{"Standbys behind", "Changelog records that the copy which is furthest behind lacks. Beyond 10 000 it does not take its task over at once.", "short", [][2]string{{"max by (instance) (amends_standby_lag_records)", "{{instance}}"}}},
		{"Rebalances", "Tasks given and taken.", "short", [][2]string{{"sum by (instance, cause) (increase(amends_rebalances_total[5m]))", "{{instance}} {{cause}}"}}},
		{"Versions", "Processes by version.", "short", [][2]string{{"count by (version) (amends_build_info)", "{{version}}"}}},
		{"Stores", "Bytes on disk, by process.", "bytes", [][2]string{{"sum by (instance) (amends_store_bytes)", "{{instance}}"}}},
		{"Memory", "Resident memory by process.", "bytes", [][2]string{{"process_resident_memory_bytes and on (instance) amends_build_info", "{{instance}}"}}},
		{"CPU", "Processor seconds per second by process.", "short", [][2]string{{"rate(process_cpu_seconds_total[$__rate_interval]) and on (instance) amends_build_info", "{{instance}}"}}},
	}},
}

// queries lists every expression of the dashboard.
func queries() (out []string) {
	for _, r := range rows {
		for _, p := range r.panels {
			for _, q := range p.queries {
				out = append(out, q[0])
			}
		}
	}
	return out
}

// Dashboard is the Grafana dashboard as JSON, schema version 39.
func Dashboard() ([]byte, error) {
	type object = map[string]any
	source := object{"type": "prometheus", "uid": "${source}"}
	var panels []object
	y, id := 0, 0
	for _, r := range rows {
		id++
		panels = append(panels, object{"id": id, "type": "row", "title": r.title, "collapsed": false, "panels": []object{}, "gridPos": object{"x": 0, "y": y, "w": 24, "h": 1}})
		y++
		for i, p := range r.panels {
			id++
			targets := make([]object, len(p.queries))
			for k, q := range p.queries {
				targets[k] = object{"refId": string(rune('A' + k)), "expr": q[0], "legendFormat": q[1], "datasource": source}
			}
			panels = append(panels, object{
				"id": id, "type": "timeseries", "title": p.title, "description": p.about, "datasource": source, "targets": targets,
				"gridPos":     object{"x": i % 2 * 12, "y": y + i/2*8, "w": 12, "h": 8},
				"fieldConfig": object{"defaults": object{"unit": p.unit, "min": 0, "custom": object{"fillOpacity": 10, "showPoints": "never"}}, "overrides": []object{}},
				"options":     object{"legend": object{"displayMode": "list", "placement": "bottom", "showLegend": true}, "tooltip": object{"mode": "multi", "sort": "desc"}},
			})
		}
		y += (len(r.panels) + 1) / 2 * 8
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(object{
		"uid": "amends", "title": "amends", "tags": []string{"amends"}, "schemaVersion": 39, "version": 1, "editable": true,
		"time": object{"from": "now-1h", "to": "now"}, "refresh": "10s", "timezone": "browser", "panels": panels,
		"templating": object{"list": []object{{"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus", "current": object{}}}},
	})
	return b.Bytes(), err
}
