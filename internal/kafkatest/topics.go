package kafkatest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Admin gives an admin client that is closed when the test ends.
func (c *Cluster) Admin() *kadm.Client {
	c.t.Helper()
	return kadm.NewClient(c.adminClient())
}

func (c *Cluster) adminClient() *kgo.Client {
	c.t.Helper()
	if c.admin == nil {
		// Records with a partition of their own go there, see ProduceTo.
		c.admin = c.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	return c.admin
}

// CreateTopic creates a topic of exactly this name, waits until every
// partition has a leader, and on a real cluster deletes it when the test
// ends. Configs may be nil. It returns the name.
func (c *Cluster) CreateTopic(name string, partitions int32, configs map[string]string) string {
	c.t.Helper()
	ctx, cancel := c.Context()
	defer cancel()
	cfg := make(map[string]*string, len(configs))
	for k, v := range configs {
		cfg[k] = kadm.StringPtr(v)
	}
	adm := c.Admin()
	if _, err := adm.CreateTopic(ctx, partitions, -1, cfg, name); err != nil {
		c.t.Fatalf("create topic %s: %v", name, err)
	}
	c.topic = append(c.topic, name)
	for {
		md, err := adm.Metadata(ctx, name)
		if err != nil {
			c.t.Fatalf("wait for topic %s: %v", name, err)
		}
		if led(md.Topics[name], partitions) {
			return name
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Compacted is the configuration of a changelog-like topic.
func Compacted() map[string]string { return map[string]string{"cleanup.policy": "compact"} }

func led(t kadm.TopicDetail, partitions int32) bool {
	if t.Err != nil || len(t.Partitions) != int(partitions) {
		return false
	}
	for _, p := range t.Partitions {
		if p.Err != nil || p.Leader < 0 {
			return false
		}
	}
	return true
}

// deleteOwn removes from a real cluster what this test made: by its own
// record and by name, because a process under test may have made more.
// Failures are logged: they cost disk, they do not change what was proved.
func (c *Cluster) deleteOwn() {
	cl, err := kgo.NewClient(c.Opts()...)
	if err != nil {
		c.t.Logf("clean up: %v", err)
		return
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	own := make(map[string]bool)
	for _, t := range c.topic {
		own[t] = true
	}
	if all, err := adm.ListTopics(ctx); err != nil {
		c.t.Logf("clean up: list topics: %v", err)
	} else {
		for _, t := range all.Names() {
			if strings.HasPrefix(t, c.ns+".") || strings.Contains(t, c.ns+"-") {
				own[t] = true
			}
		}
	}
	names := make([]string, 0, len(own))
	for t := range own {
		names = append(names, t)
	}
	if len(names) > 0 {
		resps, err := adm.DeleteTopics(ctx, names...)
		if err != nil {
			c.t.Logf("clean up: delete topics: %v", err)
		}
		for _, r := range resps {
			if r.Err != nil && !errors.Is(r.Err, kerr.UnknownTopicOrPartition) {
				c.t.Logf("clean up: delete topic %s: %v", r.Topic, r.Err)
			}
		}
	}

	groups, err := adm.ListGroups(ctx)
	if err != nil {
		c.t.Logf("clean up: list groups: %v", err)
		return
	}
	var gs []string
	for _, g := range groups.Groups() {
		if strings.HasPrefix(g, c.ns+".") || strings.HasPrefix(g, c.ns+"-") {
			gs = append(gs, g)
		}
	}
	if len(gs) > 0 {
		// A group whose members were killed is not empty until their session
		// ends; it then expires by itself.
		_, _ = adm.DeleteGroups(ctx, gs...)
	}
}
