package api

import (
	"encoding/json"
	neturl "net/url"
	"slices"
	"testing"

	"github.com/amendsio/amends/cluster"
)

func TestList(t *testing.T) {
	_, b, url := pair(t)
	list := func(query string) (page cluster.Page) {
		resp, body := get(t, url+"/api/v1/instances"+query)
		if err := json.Unmarshal([]byte(body), &page); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
		return page
	}
	names := func(p cluster.Page) (out []string) {
		for _, r := range p.Instances {
			out = append(out, r.WorkflowID)
		}
		return out
	}
	if got := names(list("")); !slices.Equal(got, []string{"far/1", "far/2/x", "near/1"}) {
		t.Errorf("all: %v", got)
	}
	first := list("?limit=2")
	if got := names(first); !slices.Equal(got, []string{"far/1", "far/2/x"}) || first.Next == "" {
		t.Errorf("first page: %v, next %q", got, first.Next)
	}
	second := list("?limit=2&cursor=" + first.Next)
	if got := names(second); !slices.Equal(got, []string{"near/1"}) || second.Next != "" {
		t.Errorf("second page: %v, next %q", got, second.Next)
	}

	if got := names(list("?query=" + neturl.QueryEscape(`workflowId.startsWith("far/2")`))); !slices.Equal(got, []string{"far/2/x"}) {
		t.Errorf("query: %v", got)
	}
	b.tasks = nil // the other one has just lost its task
	if resp, _ := get(t, url+"/api/v1/instances"); resp.StatusCode != 503 {
		t.Errorf("a list with a hole was answered with %d", resp.StatusCode)
	}
	if page := list("?partial=true"); !slices.Equal(page.Missing, []int32{1}) {
		t.Errorf("partial: %+v", page)
	}
	for _, query := range []string{"?limit=x", "?limit=0", "?limit=100000", "?status=no", "?colour=red", "?query=status", "?cursor=x", "?status=running&cursor=" + first.Next} {
		if resp, _ := get(t, url+"/api/v1/instances"+query); resp.StatusCode != 400 {
			t.Errorf("%s: %d", query, resp.StatusCode)
		}
	}
}
