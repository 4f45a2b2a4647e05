// Package cardpayment is the card-payment sample: its definition, embedded for `amends dev` and
// `amends demo`.
package cardpayment

import _ "embed"

// Definition is saga.yaml.
//
//go:embed saga.yaml
var Definition []byte
