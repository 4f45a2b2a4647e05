package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"go.yaml.in/yaml/v4"
)

// formatJSON indents JSON by two blanks and puts the known fields in their order.
func formatJSON(src []byte, order *fieldOrder) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.UseNumber()
	var out bytes.Buffer
	if err := orderJSON(&out, dec, order.root, order); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the value")
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, out.Bytes(), "", "  "); err != nil {
		return nil, err
	}
	pretty.WriteByte('\n')
	return pretty.Bytes(), nil
}

// orderJSON copies one value.
func orderJSON(out *bytes.Buffer, dec *json.Decoder, schema *yaml.Node, order *fieldOrder) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	switch tok {
	case json.Delim('['):
		items := member(order.shape(schema), "items")
		out.WriteByte('[')
		for i := 0; dec.More(); i++ {
			if i > 0 {
				out.WriteByte(',')
			}
			if err := orderJSON(out, dec, items, order); err != nil {
				return err
			}
		}
		out.WriteByte(']')
		_, err = dec.Token()
		return err
	case json.Delim('{'):
		var keys []string
		var vals []*bytes.Buffer
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			name, _ := key.(string)
			val := &bytes.Buffer{}
			if err := orderJSON(val, dec, order.of(schema, name), order); err != nil {
				return err
			}
			keys, vals = append(keys, name), append(vals, val)
		}
		if _, err := dec.Token(); err != nil {
			return err
		}
		out.WriteByte('{')
		for at, i := range order.sort(schema, keys) {
			if at > 0 {
				out.WriteByte(',')
			}
			if err := plainJSON(out, keys[i]); err != nil {
				return err
			}
			out.WriteByte(':')
			out.Write(vals[i].Bytes())
		}
		out.WriteByte('}')
		return nil
	}
	return plainJSON(out, tok)
}

// plainJSON writes a scalar without escaping what only matters in HTML.
func plainJSON(out *bytes.Buffer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	out.Write(bytes.TrimRight(b.Bytes(), "\n"))
	return nil
}
