package sqlinbox

import (
	"fmt"
	"strconv"
	"strings"
)

// Dialect is the SQL that a database understands.
type Dialect uint8

const (
	PostgreSQL Dialect = iota + 1 // 12 or newer
	MySQL                         // 8, or MariaDB 10.6 or newer
	SQLite                        // 3.24 or newer; open it with a busy timeout and immediate transactions
)

var dialects = [...]string{PostgreSQL: "postgresql", MySQL: "mysql", SQLite: "sqlite"}

func (d Dialect) known() bool { return d >= PostgreSQL && d <= SQLite }

// String is the dialect's name in lower case.
func (d Dialect) String() string {
	if !d.known() {
		return "dialect " + strconv.Itoa(int(d))
	}
	return dialects[d]
}

// DDL returns the statements that make the tables of an inbox, if they are missing: table for the rows, and
// table_data for what handlers keep by Tx.Put. They can be run again. table has lower-case letters, digits and
// underscores, 1 to 48 of them, and may be qualified with a schema.
//
// The column outcome is for people: nothing reads it.
func DDL(d Dialect, table string) []string {
	key, blob, tail := "varchar(1024)", "bytea", ""
	switch d {
	case MySQL:
		// Bytes, so that no collation makes two keys equal. 1024 is the longest key of Tx.Put.
		key, blob, tail = "varbinary(1024)", "longblob", " engine=InnoDB"
	case SQLite:
		key, blob = "text", "blob"
	}
	index := fmt.Sprintf("create index if not exists %s_at on %s (at)", bare(table), table)
	inline := ""
	if d == MySQL { // which has no "if not exists" for an index
		index, inline = "", fmt.Sprintf(", index %s_at (at)", bare(table))
	}
	all := []string{
		fmt.Sprintf("create table if not exists %s (k %s not null primary key, outcome varchar(16) not null, at bigint not null, answer %s not null%s)%s", table, key, blob, inline, tail),
		index,
		fmt.Sprintf("create table if not exists %s_data (k %s not null primary key, v %s)%s", table, key, blob, tail),
	}
	if index == "" {
		all = append(all[:1], all[2])
	}
	return all
}

// bare is a table's name without its schema.
func bare(table string) string { return table[strings.LastIndexByte(table, '.')+1:] }

// statements are all that an inbox says to its database.
type statements struct {
	insert, lock, set              string // rows
	claim, read, put, remove, tidy string // data
	sweep                          string
}

func newStatements(d Dialect, table string) statements {
	data, lock := table+"_data", " for update"
	insert, skip := "insert into %s values (%s) on conflict (k) do nothing", ""
	put := "insert into " + data + " (k, v) values (?, ?) on conflict (k) do update set v = excluded.v"
	sweep := "delete from " + table + " where k in (select k from " + table + " where at < ? order by at limit ?%s)"
	switch d {
	case PostgreSQL:
		skip = " for update skip locked"
	case MySQL:
		// Without strict mode "ignore" would also cut values that are too long: they are measured before.
		insert = "insert ignore into %s values (%s)"
		put = "insert into " + data + " (k, v) values (?, ?) on duplicate key update v = values(v)"
		sweep = "delete from " + table + " where at < ? order by at limit ?%s"
	case SQLite: // one writer at a time
		lock = ""
	}
	s := statements{
		insert: fmt.Sprintf(insert, table+" (k, outcome, at, answer)", "?, ?, ?, ?"),
		lock:   "select answer from " + table + " where k = ?" + lock,
		set:    "update " + table + " set outcome = ?, answer = ? where k = ?",
		claim:  fmt.Sprintf(insert, data+" (k, v)", "?, null"),
		read:   "select v is not null, v from " + data + " where k = ?" + lock,
		put:    put,
		remove: "delete from " + data + " where k = ?",
		tidy:   "delete from " + data + " where k = ? and v is null",
		sweep:  fmt.Sprintf(sweep, skip),
	}
	if d == PostgreSQL {
		for _, text := range []*string{&s.insert, &s.lock, &s.set, &s.claim, &s.read, &s.put, &s.remove, &s.tidy, &s.sweep} {
			*text = numbered(*text)
		}
	}
	return s
}

// numbered turns each ? into $1, $2 and so on.
func numbered(text string) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		if r == '?' {
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
