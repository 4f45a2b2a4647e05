package schema

import (
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// Dir is a directory of .avsc files: schemas for those who have no registry, and for checks. It is immutable.
//
// A file is found by the full name of its record, by the fingerprint of its schema, and by its own name without
// .avsc: orders-value.avsc stands for the subject orders-value, orders.avsc for the topic orders.
type Dir struct {
	byName        map[string]*Schema
	byFingerprint map[uint64]*Schema
	byFile        map[string]*Schema
	files         map[string]string // file by full name
}

// MaxFiles is the number of files in a directory of schemas.
const MaxFiles = 1000

// LoadDir reads all .avsc files of a directory and the directories below it. A file may use types of other files.
func LoadDir(fsys fs.FS) (*Dir, error) {
	d := &Dir{map[string]*Schema{}, map[uint64]*Schema{}, map[string]*Schema{}, map[string]string{}}
	texts := map[string]string{}
	err := fs.WalkDir(fsys, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".avsc") {
			return err
		}
		if len(texts) >= MaxFiles {
			return fmt.Errorf("more than %d schema files", MaxFiles)
		}
		f, err := fsys.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		src, err := io.ReadAll(io.LimitReader(f, MaxSchemaBytes+1))
		texts[path] = string(src)
		return err
	})
	if err != nil {
		return nil, err
	}
	return d, d.parse(texts)
}

// parse reads files in an order in which each finds what it needs: those that fail are tried again with what the others
// have defined, as long as that brings one forward.
func (d *Dir) parse(texts map[string]string) error {
	left := make([]string, 0, len(texts))
	for path := range texts {
		left = append(left, path)
	}
	slices.Sort(left)
	names := &schemaParser{names: map[string]*avroType{}}
	for len(left) > 0 {
		var again []string
		var first error
		for _, path := range left {
			trial := &schemaParser{names: cloneNames(names.names), count: 0}
			root, err := trial.text(texts[path])
			if err != nil {
				if first == nil {
					first = fmt.Errorf("%s: %w", path, err)
				}
				again = append(again, path)
				continue
			}
			names.names = trial.names
			s := &Schema{root: root, text: texts[path]}
			s.fingerprint = crc64Avro([]byte(canonicalForm(root)))
			d.add(path, s)
		}
		if len(again) == len(left) {
			return first
		}
		left = again
	}
	return nil
}

func cloneNames(m map[string]*avroType) map[string]*avroType {
	c := make(map[string]*avroType, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

func (d *Dir) add(path string, s *Schema) {
	if s.Name() != "" {
		d.byName[s.Name()], d.files[s.Name()] = s, path
	}
	d.byFingerprint[s.fingerprint] = s
	base := path[strings.LastIndexByte(path, '/')+1:]
	d.byFile[strings.TrimSuffix(base, ".avsc")] = s
}

// ByName is the schema with a full name, nil when there is none.
func (d *Dir) ByName(name string) *Schema { return d.byName[name] }

// Names are the full names, sorted.
func (d *Dir) Names() []string {
	names := make([]string, 0, len(d.byName))
	for n := range d.byName {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// File is the file that defines a full name.
func (d *Dir) File(name string) string { return d.files[name] }

// forSubject is the schema of a topic or subject.
func (d *Dir) forSubject(topic, subject string) *Schema {
	if d == nil {
		return nil
	}
	if s := d.byFile[subject]; s != nil {
		return s
	}
	return d.byFile[topic]
}

// ForSubject is the schema that a file named after the subject, or after the topic, holds; nil when there is none.
func (d *Dir) ForSubject(topic, subject string) *Schema { return d.forSubject(topic, subject) }
