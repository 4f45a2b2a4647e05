package sqlinbox

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/statements.txt")

// The statements of each dialect, to be read. SQLite and PostgreSQL also run them in this package's tests; MySQL
// does where MYSQL_DSN names a server.
func TestStatements(t *testing.T) {
	var b strings.Builder
	for _, d := range []Dialect{PostgreSQL, MySQL, SQLite} {
		fmt.Fprintf(&b, "# %s\n", d)
		for _, s := range DDL(d, "shop.saga_inbox") {
			fmt.Fprintf(&b, "%s\n", s)
		}
		v := reflect.ValueOf(newStatements(d, "shop.saga_inbox"))
		for i := range v.NumField() {
			fmt.Fprintf(&b, "%-6s  %s\n", v.Type().Field(i).Name, v.Field(i))
		}
		b.WriteByte('\n')
	}
	const file = "testdata/statements.txt"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the statements differ from %s (make golden):\n%s", file, b.String())
	}
}

type state string

func (s state) Error() string    { return "ERROR: (SQLSTATE " + string(s) + ")" }
func (s state) SQLState() string { return string(s) }

type code int

func (c code) Error() string { return "sqlite" }
func (c code) Code() int     { return int(c) }

func TestConflicts(t *testing.T) {
	for err, want := range map[error]bool{
		state("40001"):                       true,
		fmt.Errorf("x: %w", state("40P01")):  true,
		state("23505"):                       false,
		code(5):                              true,
		code(517):                            true, // SQLITE_BUSY_SNAPSHOT
		code(19):                             false,
		errors.New("database is locked"):     true,
		errors.New("Error 1213 (40001): De"): true,
		errors.New("Error 1062 (23000): Du"): false,
	} {
		if isConflict(err) != want {
			t.Errorf("%v: want %v", err, want)
		}
	}
	if Dialect(7).String() != "dialect 7" || MySQL.String() != "mysql" {
		t.Error("names of dialects")
	}
}
