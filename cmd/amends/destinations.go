package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/amendsio/amends/topology"
)

// everyTopic stands for all topics of others that have no limits of their own.
const everyTopic = "*"

const destinationsUsage = `limits of a topic of others in this process, such as "cmd.psp rate=100 burst=20 retries=0.5 retries-min=5"; ` +
	`"*" for every other one; may be repeated`

// destinationLimits reads what --destination-limits says: one text per topic, all faults together.
func destinationLimits(texts []string) (d topology.Destinations, err error) {
	var faults []error
	seen := map[string]bool{}
	for _, text := range texts {
		topic, lane, err := destinationLimit(text)
		if err == nil && seen[topic] {
			err = errors.New("has limits already")
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("destination-limits: %q: %w", text, err))
			continue
		}
		seen[topic] = true
		if topic == everyTopic {
			d.All = lane
			continue
		}
		if d.Topics == nil {
			d.Topics = map[string]topology.Lane{}
		}
		d.Topics[topic] = lane
	}
	return d, errors.Join(faults...)
}

func destinationLimit(text string) (topic string, l topology.Lane, err error) {
	words := strings.Fields(text)
	if len(words) == 0 || strings.Contains(words[0], "=") {
		return "", l, errors.New("does not begin with a topic, or with *")
	}
	if len(words) == 1 {
		return "", l, errors.New("has no limit: rate, burst, retries or retries-min")
	}
	said := map[string]float64{}
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		if name != "rate" && name != "burst" && name != "retries" && name != "retries-min" {
			return "", l, fmt.Errorf("%s is not rate, burst, retries or retries-min", name)
		}
		if _, twice := said[name]; twice {
			return "", l, fmt.Errorf("%s is there twice", name)
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || !(n > 0 && n <= 1e6) {
			return "", l, fmt.Errorf("%s: %q is not a number above 0, at most 1000000", name, value)
		}
		said[name] = n
	}
	l = topology.Lane{Rate: said["rate"], Burst: int(said["burst"]), Retries: said["retries"], RetriesMin: said["retries-min"]}
	switch {
	case float64(l.Burst) != said["burst"]:
		return "", l, errors.New("burst is not a whole number")
	case l.Burst > 0 && l.Rate == 0:
		return "", l, errors.New("burst without rate limits nothing")
	case l.RetriesMin > 0 && l.Retries == 0:
		return "", l, errors.New("retries-min without retries limits nothing")
	}
	return words[0], l, nil
}
