package blackbox

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/amendsio/amends/internal/kafkatest"
)

// provider is a service with an HTTP API that knows no Kafka: it honours Idempotency-Key, over the same tables as the
// participants. Some of its answers are lost after it has done what was asked.
type provider struct {
	url         string
	db          *sql.DB
	seed        uint64
	calls, lost atomic.Int64
}

func startProvider(t *testing.T, c *kafkatest.Cluster, seed uint64) *provider {
	t.Helper()
	p := &provider{seed: seed}
	var err error
	if p.db, err = sql.Open("pgx", makeDatabase(t, postgres(t), c.Name("provider"))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.db.Close() })
	p.db.SetMaxOpenConns(16)
	schema, err := os.ReadFile("../../examples/participants/schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.db.Exec(string(schema)); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	p.url = srv.URL + "/v1"
	return p
}

func (p *provider) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	n := p.calls.Add(1)
	status, body, err := p.answer(req)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	if hash(p.seed, fmt.Sprint("lost", n))%100 < 3 {
		p.lost.Add(1)
		status, body = http.StatusServiceUnavailable, `{"error":"LOST"}`
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	fmt.Fprint(rw, body)
}

// answer works in one transaction with the row of its key.
func (p *provider) answer(req *http.Request) (status int, body string, err error) {
	tx, err := p.db.BeginTx(req.Context(), nil)
	if err != nil {
		return 0, "", err
	}
	defer tx.Rollback()
	key, charge := req.Header.Get("Idempotency-Key"), strings.TrimPrefix(req.URL.Path, "/v1/charges/")
	if req.Method == http.MethodGet {
		var id string
		err := tx.QueryRow("select id::text from ledger d where k = $1 and not exists (select 1 from ledger u where u.fwd = d.k)", charge).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return http.StatusNotFound, `{}`, nil
		}
		return http.StatusOK, fmt.Sprintf(`{"id":%q}`, id), err
	}
	res, err := tx.Exec("insert into inbox(k) values($1) on conflict do nothing", key)
	if err != nil {
		return 0, "", err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		var out string
		if err == nil {
			err = tx.QueryRow("select outcome, body::text from inbox where k = $1", key).Scan(&out, &body)
		}
		_, _ = fmt.Sscan(out, &status) // it is ours
		return status, body, err
	}
	status, body = http.StatusOK, `{}`
	switch req.Method {
	case http.MethodPost:
		var in struct {
			Amount    int64  `json:"amount"`
			Reference string `json:"reference"`
		}
		if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
			return http.StatusBadRequest, `{}`, nil
		}
		if in.Amount > 1_000_000 {
			status, body = http.StatusPaymentRequired, `{"error":"OVER_LIMIT"}`
			break
		}
		var id string
		if err := tx.QueryRow("insert into ledger(wid, command, k, amount) values($1, 'charge', $2, $3) returning id::text", in.Reference, key, in.Amount).Scan(&id); err != nil {
			return 0, "", err
		}
		status, body = http.StatusCreated, fmt.Sprintf(`{"id":%q}`, id)
	case http.MethodDelete:
		res, err := tx.Exec(`insert into ledger(wid, command, k, fwd, amount) select wid, 'refund', $1, k, -amount from ledger d where k = $2
			and not exists (select 1 from ledger u where u.fwd = d.k)`, key, charge)
		if err != nil {
			return 0, "", err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			status = http.StatusNotFound
		}
	}
	if _, err := tx.Exec("update inbox set outcome = $1, body = $2 where k = $3", fmt.Sprint(status), body, key); err != nil {
		return 0, "", err
	}
	return status, body, tx.Commit()
}
