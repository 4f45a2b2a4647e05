package query

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Limits of one query.
const (
	MaxBytes  = 2048
	MaxCost   = 10_000 // of one evaluation, in CEL cost units
	maxNodes  = 500
	maxDepth  = 24
	maxRegexp = 200
	maxIn     = 100 // values of one list after in
)

// ErrInvalid is the class of a query that cannot be used; the text says why, and where.
var ErrInvalid = errors.New("invalid query")

// Tag is one declared attribute of an instance.
type Tag struct{ Name, Value string }

const attention = "attention"

// Row is what a query knows of an instance. Times are milliseconds since 1970, 0 = none.
type Row struct {
	WorkflowID    string
	Type          string
	Version, Run  uint32
	Status, Phase string // Status is "attention" for an active instance that needs a person, else Phase
	Attention     bool
	Active        bool
	Started       int64
	Updated       int64
	Due           int64
	Tags          func() []Tag // asked at most once for each Match; nil = none
	// Causes says why it needs a person: each reason with the id of its step behind an @, such as UNDO_FAILED@auth. nil = none.
	Causes func() []string
}

// ID is the workflow ID without the type.
func (r *Row) ID() string {
	_, id, _ := strings.Cut(r.WorkflowID, "/")
	return id
}

// Query is a compiled query. It is immutable and safe for concurrent use.
type Query struct {
	src  string
	now  time.Time
	path Path
	test []test
	rest cel.Program // nil: the tests say it all
}

// Path is what an index can answer. Each field narrows; nil and "" do not.
type Path struct {
	Statuses []string // Status is one of these
	Loose    []string // Status or Phase is one of these; "attention" is also an ended instance that needs a person
	Phases   []string // Phase is one of these
	Types    []string // Type is one of these
	Versions []uint32 // Version is one of these
	Prefix   string   // the workflow ID begins so
	Tags     []Tag    // has all of these
}

// test is one part of a condition that needs no CEL.
type test func(*Row, *tags) bool

// tags asks a row for its tags once.
type tags struct {
	row  *Row
	have bool
	all  []Tag
}

func (t *tags) get(name string) (string, bool) {
	if !t.have {
		t.have = true
		if t.row.Tags != nil {
			t.all = t.row.Tags()
		}
	}
	for i := range t.all {
		if t.all[i].Name == name {
			return t.all[i].Value, true
		}
	}
	return "", false
}

// celEnv is immutable.
var celEnv = newCelEnv()

func newCelEnv() *cel.Env {
	e, err := cel.NewCustomEnv(
		cel.StdLib(),
		cel.OptionalTypes(),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.Variable("workflowId", cel.StringType), cel.Variable("type", cel.StringType), cel.Variable("id", cel.StringType),
		cel.Variable("status", cel.StringType), cel.Variable("phase", cel.StringType),
		cel.Variable("version", cel.IntType), cel.Variable("run", cel.IntType),
		cel.Variable("attention", cel.BoolType), cel.Variable("active", cel.BoolType),
		cel.Variable("started", cel.TimestampType), cel.Variable("updated", cel.TimestampType),
		cel.Variable("due", cel.TimestampType), cel.Variable("now", cel.TimestampType),
		cel.Variable("tags", cel.MapType(cel.StringType, cel.StringType)), cel.Variable("causes", cel.ListType(cel.StringType)),
		cel.ParserExpressionSizeLimit(MaxBytes), cel.ParserRecursionLimit(maxDepth),
		cel.ExpressionNestingDepthLimit(maxDepth), cel.ExpressionNodeLimit(maxNodes), cel.RegexProgramSizeLimit(maxRegexp),
	)
	if err != nil {
		panic("query: environment: " + err.Error()) // constant input
	}
	return e
}

// Compile compiles a condition; "" matches all. The error is of class ErrInvalid.
func Compile(src string, now time.Time) (*Query, error) {
	q := &Query{src: strings.TrimSpace(src), now: now.UTC()}
	if q.src == "" {
		return q, nil
	}
	if len(q.src) > MaxBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrInvalid, len(q.src), MaxBytes)
	}
	ast, issues := celEnv.Compile(q.src)
	if err := issues.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("%w: it gives %s, not true or false", ErrInvalid, ast.OutputType())
	}
	if !q.split(ast.NativeRep().Expr()) {
		prg, err := celEnv.Program(ast, cel.CostLimit(MaxCost), cel.EvalOptions(cel.OptOptimize))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		q.rest = prg
	}
	return q, nil
}

// String is the source.
func (q *Query) String() string { return q.src }

// Now is the moment that the query takes for now.
func (q *Query) Now() time.Time { return q.now }

// Path is what an index can answer of it.
func (q *Query) Path() Path { return q.path }

// Exact says that all the query asks for is in its path.
func (q *Query) Exact() bool { return q.rest == nil && len(q.test) == 0 }

// And narrows a query further by what forms and flags ask for: a status or phase, and a type; "" for any.
func (q *Query) And(status, typ string) *Query {
	next := *q
	if status != "" {
		next.path.Loose = both(next.path.Loose, []string{status})
	}
	if typ != "" {
		next.path.Types = both(next.path.Types, []string{typ})
	}
	return &next
}

// both is what two restrictions leave; nil restricts nothing.
func both[T comparable](a, b []T) []T {
	if a == nil {
		return b
	}
	out := []T{}
	for _, v := range a {
		if slices.Contains(b, v) {
			out = append(out, v)
		}
	}
	return out
}

// Match decides about one instance.
func (q *Query) Match(r *Row) bool {
	t := tags{row: r}
	if !q.path.matches(r, &t) {
		return false
	}
	for _, ok := range q.test {
		if !ok(r, &t) {
			return false
		}
	}
	if q.rest == nil {
		return true
	}
	out, _, err := q.rest.Eval(&activation{q: q, r: r, t: &t})
	return err == nil && out == types.True
}

func (p *Path) matches(r *Row, t *tags) bool {
	if p.Statuses != nil && !slices.Contains(p.Statuses, r.Status) ||
		p.Loose != nil && !slices.Contains(p.Loose, r.Status) && !slices.Contains(p.Loose, r.Phase) && !(r.Attention && slices.Contains(p.Loose, attention)) ||
		p.Phases != nil && !slices.Contains(p.Phases, r.Phase) ||
		p.Types != nil && !slices.Contains(p.Types, r.Type) ||
		p.Versions != nil && !slices.Contains(p.Versions, r.Version) ||
		!strings.HasPrefix(r.WorkflowID, p.Prefix) {
		return false
	}
	for _, want := range p.Tags {
		if have, ok := t.get(want.Name); !ok || have != want.Value {
			return false
		}
	}
	return true
}

// activation gives CEL the names.
type activation struct {
	q *Query
	r *Row
	t *tags
}

func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case "workflowId":
		return a.r.WorkflowID, true
	case "type":
		return a.r.Type, true
	case "id":
		return a.r.ID(), true
	case "status":
		return a.r.Status, true
	case "phase":
		return a.r.Phase, true
	case "version":
		return int64(a.r.Version), true
	case "run":
		return int64(a.r.Run), true
	case "attention":
		return a.r.Attention, true
	case "active":
		return a.r.Active, true
	case "started":
		return moment(a.r.Started), true
	case "updated":
		return moment(a.r.Updated), true
	case "due":
		return moment(a.r.Due), true
	case "now":
		return types.Timestamp{Time: a.q.now}, true
	case "tags":
		a.t.get("") // fills them in
		m := make(map[string]string, len(a.t.all))
		for _, t := range a.t.all {
			m[t.Name] = t.Value
		}
		return types.NewStringStringMap(types.DefaultTypeAdapter, m), true
	case "causes":
		var list []string
		if a.r.Causes != nil {
			list = a.r.Causes()
		}
		return types.NewStringList(types.DefaultTypeAdapter, list), true
	}
	return nil, false
}

func (a *activation) Parent() cel.Activation { return nil }

func moment(ms int64) ref.Val { return types.Timestamp{Time: time.UnixMilli(ms).UTC()} }
