package sagas

import _ "embed"

//go:embed definition.schema.json
var schema string

// Schema is the JSON Schema (draft 2020-12) of a definition, for editors: what it refuses has an
// SG01, SG03 or SG04, but a definition that it accepts may still have findings.
func Schema() []byte { return []byte(schema) }
