package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/orchestrator"
)

func newBundleCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle [FILE]",
		Short: "Gather what a bug report needs into one archive, without secrets and payloads",
		Long: `Gather what a bug report needs into one archive (default: amends-bundle-TIME.tar.gz): versions, settings
with secrets masked, what amends doctor finds, topics and their settings, processes, definitions as published,
metrics, and the steps of instances that need a person. Inputs, outputs, tags, messages of participants
and the names of people are left out; workflow IDs are in it, unless --no-ids. Nothing is sent anywhere.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "amends-bundle-" + time.Now().UTC().Format("20060102-150405") + ".tar.gz"
			if len(args) == 1 {
				path = args[0]
			}
			return writeBundle(cmd, t, path)
		},
	}
	cmd.Flags().Bool("no-ids", false, "leave workflow IDs out as well")
	kafkaFlags(cmd)
	serverFlags(cmd)
	return cmd
}

// bundleInstances bounds how many instances a bundle describes.
const bundleInstances = 100

func writeBundle(cmd *cobra.Command, t *terminal, path string) error {
	s, err := readSettings(cmd, "")
	var conn connection
	if err == nil {
		err = conn.take(s)
	}
	if err != nil {
		return &codedError{exitUsage, err}
	}
	noIDs, _ := cmd.Flags().GetBool("no-ids")
	ctx, api := cmd.Context(), conn.api()
	files := []struct {
		name string
		make func() (any, error)
	}{
		{"version.json", func() (any, error) {
			return map[string]string{"amends": orchestrator.Version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH, "at": time.Now().UTC().Format(time.RFC3339)}, nil
		}},
		{"settings.json", func() (any, error) { return shownSettings(cmd, s), nil }},
		{"doctor.json", func() (any, error) {
			d, err := examine(cmd)
			if err != nil {
				return nil, err
			}
			return d.found, nil
		}},
		{"topics.json", func() (any, error) {
			ctx, cancel := context.WithTimeout(ctx, doctorPatience)
			defer cancel()
			states, err := orchestrator.PlanTopics(ctx, conn.orchestrator(), nil)
			var rows []topicRow
			for _, s := range states {
				rows = append(rows, rowOfTopic(s))
			}
			return rows, err
		}},
		{"processes.json", func() (any, error) {
			ctx, cancel := context.WithTimeout(ctx, doctorPatience)
			defer cancel()
			return orchestrator.DescribeLevel(ctx, conn.orchestrator())
		}},
		{"definitions.json", func() (any, error) { return rawOf(ctx, api, "/api/v1/definitions", nil) }},
		{"nodes.json", func() (any, error) { return rawOf(ctx, api, "/api/v1/nodes", nil) }},
		{"census.json", func() (any, error) { return rawOf(ctx, api, "/api/v1/census", nil) }},
		{"attention.json", func() (any, error) { return troubled(ctx, api, noIDs) }},
		{"metrics.txt", func() (any, error) { return metricsOf(ctx, api) }},
	}
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	for _, f := range files {
		content, err := f.make()
		raw, isText := content.([]byte)
		if err == nil && !isText {
			raw, err = json.MarshalIndent(content, "", "  ")
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		name := f.name
		if err != nil { // what could not be had is a finding too
			name, raw = name+".error", []byte(err.Error()+"\n")
			fmt.Fprintf(t.err, "amends: %s: %v\n", f.name, err)
		}
		header := &tar.Header{Name: "amends-bundle/" + name, Mode: 0o644, Size: int64(len(raw)), ModTime: time.Now()}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(raw); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return err
	}
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		return err
	}
	t.say("%s", filepath.Clean(path))
	return nil
}

func rawOf(ctx context.Context, api *apiClient, path string, q url.Values) (json.RawMessage, error) {
	var raw json.RawMessage
	return raw, api.get(ctx, path, q, &raw)
}

// troubledStep is what a bundle says of a step. Fields are taken one by one, so that what an instance may
// hold of its business does not come along when a view grows.
type troubledStep struct {
	Path         string `json:"path"`
	Node         string `json:"node,omitempty"`
	State        string `json:"state"`
	Attempts     uint32 `json:"attempts,omitempty"`
	Undo         string `json:"undo,omitempty"`
	UndoAttempts uint32 `json:"undoAttempts,omitempty"`
	Code         string `json:"code,omitempty"`
}

type troubledInstance struct {
	WorkflowID string         `json:"workflowId,omitempty"`
	Type       string         `json:"type"`
	Version    uint32         `json:"version"`
	Phase      string         `json:"phase"`
	Rev        uint64         `json:"rev"`
	Reasons    []string       `json:"reasons"`
	Started    string         `json:"started"`
	Updated    string         `json:"updated"`
	Steps      []troubledStep `json:"steps"`
}

// troubled are the instances that need a person, without what is in them.
func troubled(ctx context.Context, api *apiClient, noIDs bool) ([]troubledInstance, error) {
	var page struct{ Instances []orchestrator.Row }
	if err := api.get(ctx, "/api/v1/instances", url.Values{"status": {orchestrator.StatusAttention}, "limit": {fmt.Sprint(bundleInstances)}}, &page); err != nil {
		return nil, err
	}
	out := []troubledInstance{}
	for _, r := range page.Instances {
		v, err := api.instance(ctx, r.WorkflowID)
		if err != nil {
			continue // it has gone meanwhile
		}
		one := troubledInstance{WorkflowID: v.WorkflowID, Type: v.Type, Version: v.Version, Phase: v.Phase, Rev: v.Rev, Started: timeText(v.StartedAt), Updated: timeText(v.UpdatedAt)}
		if noIDs {
			one.WorkflowID = ""
		}
		for _, a := range v.Attention {
			one.Reasons = append(one.Reasons, a.Reason+" "+a.Path)
		}
		for _, s := range v.Steps {
			path := s.Path
			if noIDs { // the path of an item holds its key
				path = s.Command
			}
			one.Steps = append(one.Steps, troubledStep{path, s.Node, s.State, s.Attempts, s.Undo, s.UndoAttempts, s.Code})
		}
		out = append(out, one)
	}
	return out, nil
}

// metricsOf are the metrics of the process that answers. No id and no payload is in them.
func metricsOf(ctx context.Context, api *apiClient) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api.base+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := api.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, 16<<20))
}
