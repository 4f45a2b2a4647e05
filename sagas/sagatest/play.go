package sagatest

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/datadriven"
)

// Block is one verb of a script that was played.
type Block struct {
	Line int    // of the verb in the file
	Verb string // as written
	Want string // the answer in the file
	Got  string // the answer of the saga machine
	Err  error  // the verb itself was wrong; then there is no answer
}

// OK says whether the verb answered as the file says.
func (b *Block) OK() bool { return b.Err == nil && b.Want == b.Got }

// Play runs a whole script without a testing.T: every verb in turn, though one answered wrong. An
// error means that the text is no script. The second result is the text with the answers that were
// given, for those who want to keep them.
func (s *Script) Play(src []byte) ([]Block, []byte, error) {
	p := player{lines: strings.Split(strings.ReplaceAll(string(src), "\r\n", "\n"), "\n")}
	var blocks []Block
	for p.at < len(p.lines) {
		line := p.next()
		if p.at == len(p.lines) && line == "" {
			break // the end of the last line
		}
		p.emit(line)
		text := strings.TrimSpace(line)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		b := Block{Line: p.at, Verb: text}
		for strings.HasSuffix(text, `\`) && p.at < len(p.lines) {
			more := p.next()
			p.emit(more)
			text = strings.TrimSuffix(text, `\`) + " " + strings.TrimSpace(more)
		}
		verb, list, err := datadriven.ParseLine(text)
		if err != nil {
			return nil, nil, fmt.Errorf("line %d: %w", b.Line, err)
		}
		body, closed := p.body()
		if !closed {
			return nil, nil, fmt.Errorf("line %d: %s has no line ---- behind it", b.Line, verb)
		}
		b.Want = p.want()
		args := make([]Arg, len(list))
		for i, a := range list {
			args[i] = Arg{Name: a.Key, Values: a.Vals}
		}
		b.Got, b.Err = s.Exec(verb, args, body)
		p.answer(b.Got)
		blocks = append(blocks, b)
	}
	return blocks, []byte(p.out.String()), nil
}

// Rewrite runs a script whose file= names are relative to dir, and returns it with the answers that
// were given. A verb that is wrong is an error.
func Rewrite(dir string, src []byte) ([]byte, error) {
	blocks, out, err := NewScript(dir).Play(src)
	if err != nil {
		return nil, err
	}
	for _, b := range blocks {
		if b.Err != nil {
			return nil, fmt.Errorf("line %d: %w", b.Line, b.Err)
		}
	}
	return out, nil
}

// player reads a script line by line and writes it down again.
type player struct {
	lines []string
	at    int
	out   strings.Builder
}

const separator = "----"

func (p *player) next() string {
	line := p.lines[p.at]
	p.at++
	return line
}

func (p *player) emit(line string) {
	p.out.WriteString(line)
	p.out.WriteByte('\n')
}

// body is what stands between the verb and its answer.
func (p *player) body() (text string, closed bool) {
	var b strings.Builder
	for p.at < len(p.lines) {
		line := p.next()
		if line == separator {
			return strings.TrimSpace(b.String()), true
		}
		p.emit(line)
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return "", false
}

// want reads the answer: up to the first blank line, or between two lines of ---- each when it has
// blank lines itself.
func (p *player) want() string {
	var b strings.Builder
	if p.at < len(p.lines) && p.lines[p.at] == separator {
		p.at++
		for p.at < len(p.lines) {
			line := p.next()
			if line == separator && p.at < len(p.lines) && p.lines[p.at] == separator {
				p.at++
				if p.at < len(p.lines) && p.lines[p.at] == "" {
					p.at++
				}
				break
			}
			b.WriteString(line)
			b.WriteByte('\n')
		}
		return b.String()
	}
	for p.at < len(p.lines) {
		line := p.next()
		if strings.TrimSpace(line) == "" {
			break
		}
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.String()
}

// answer writes an answer down as want reads it.
func (p *player) answer(got string) {
	p.emit(separator)
	if strings.Contains("\n"+got, "\n\n") {
		p.emit(separator)
		p.out.WriteString(got)
		p.emit(separator)
		p.emit(separator)
	} else {
		p.out.WriteString(got)
	}
	if p.at < len(p.lines) {
		p.emit("")
	}
}
