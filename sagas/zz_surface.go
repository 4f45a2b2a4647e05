package sagas

type source struct{}

func (d *Definition) Canonical() []byte { panic("sagas: not yet") }

func ParseDefinition(file string, src []byte) (*Definition, error)    { panic("sagas: not yet") }
func ParseDefinitions(file string, src []byte) ([]*Definition, error) { panic("sagas: not yet") }
func Compile(d *Definition) (*Plan, error)                            { panic("sagas: not yet") }

type Expr struct{}

func (e *Expr) Bool(s Scope) (bool, error)     { panic("sagas: not yet") }
func (e *Expr) String(s Scope) (string, error) { panic("sagas: not yet") }

type Mapping struct{}

func (m *Mapping) JSON(s Scope) ([]byte, error) { panic("sagas: not yet") }

type InputRule struct{}

func (r *InputRule) Check(input []byte) error { panic("sagas: not yet") }

type Scope interface {
	Input() []byte
	Step(path string) (output []byte, state string, found bool)
	Now() Time
	Key() string
}

func CanonicalJSON(src []byte) ([]byte, error)                { panic("sagas: not yet") }
func KeepFields(output []byte, keep []string) ([]byte, error) { panic("sagas: not yet") }
func MergeObjects(a, b []byte) ([]byte, error)                { panic("sagas: not yet") }
