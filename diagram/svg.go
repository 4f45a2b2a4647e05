package diagram

import (
	_ "embed"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// CSS is the style sheet of the pictures. It touches nothing outside of them. A page that does not
// allow inline styles serves it as a file and sets Options.NoStyle.
//
//go:embed style.css
var CSS string

// Options of SVG.
type Options struct {
	Overlay Overlay // nil = the definition alone
	NoTitle bool    // without the line with the name of the saga
	NoStyle bool    // without CSS inside
	Theme   string  // "light" or "dark"; "" = what the reader prefers
}

// SVG is the picture as a document that stands alone.
func (d *Diagram) SVG(o Options) []byte {
	s := d.layout(!o.NoTitle)
	w := &svgWriter{o: o}
	theme := ""
	if o.Theme == "light" || o.Theme == "dark" {
		theme = ` data-theme="` + o.Theme + `"`
	}
	w.f(`<svg xmlns="http://www.w3.org/2000/svg" class="amd" role="img" width="%d" height="%d" viewBox="0 0 %d %d" data-saga="%s"%s>`+"\n",
		s.w, s.h, s.w, s.h, esc(d.def.Ref()), theme)
	w.f("<title>Saga %s</title>\n<desc>%s</desc>\n", esc(d.def.Ref()), esc(d.describe()))
	if !o.NoStyle {
		w.f("<style>\n%s</style>\n", CSS)
	}
	w.f(`<rect class="amd-ground" width="%d" height="%d"/>`+"\n", s.w, s.h)
	if !o.NoTitle {
		w.text(margin, margin+15, esc(d.def.Saga), fontHeading, "")
		w.text(margin+fontHeading.width(d.def.Saga)+12, margin+15, esc(d.subtitle()), fontLabel, "")
	}
	for _, b := range s.bands {
		w.f(`<rect class="amd-band" x="%d" y="%d" width="%d" height="%d" rx="12"/>`+"\n", b.x, b.y, b.w, b.h)
	}
	for _, b := range s.blocks {
		w.block(b)
	}
	for _, l := range s.lines {
		w.line(l)
	}
	for _, m := range s.marks {
		w.f(`<path class="amd-mark" d="M%d %dV%d"/>`+"\n", m.x, m.y1, m.y2)
	}
	for _, e := range s.ends {
		w.f(`<circle class="amd-end %s" cx="%d" cy="%d" r="%d"/>`+"\n", e.kind, e.x, e.y, endRadius)
	}
	for _, b := range s.steps {
		w.step(b)
	}
	for _, l := range s.labels {
		class := l.class
		if l.middle {
			class += " amd-m"
		}
		w.text(l.x, l.y, esc(l.text), l.font, class)
	}
	w.f("</svg>\n")
	return []byte(w.b.String())
}

// WriteSVG writes the picture.
func (d *Diagram) WriteSVG(out io.Writer, o Options) error {
	_, err := out.Write(d.SVG(o))
	return err
}

// subtitle is what the title says beside the name.
func (d *Diagram) subtitle() string {
	parts := []string{"version " + strconv.FormatUint(uint64(d.def.Version), 10)}
	if d.def.Deadline > 0 {
		parts = append(parts, "deadline "+duration(d.def.Deadline))
	}
	return strings.Join(parts, " · ")
}

type svgWriter struct {
	b strings.Builder
	o Options
}

func (w *svgWriter) f(format string, args ...any) { fmt.Fprintf(&w.b, format, args...) }

// text writes a text that is escaped already.
func (w *svgWriter) text(x, y int, text string, f font, class string) {
	if class = strings.TrimSpace(class); class != "" {
		class = " " + class
	}
	w.f(`<text class="%s%s" x="%d" y="%d">%s</text>`+"\n", f.class, class, x, y, text)
}

func (w *svgWriter) icon(x, y int, name string) {
	w.f(`<rect class="amd-tile" x="%d" y="%d" width="%d" height="%d" rx="7"/>`, x, y, iconSize, iconSize)
	w.f(`<path class="amd-icon" transform="translate(%d %d)" d="%s"/>`+"\n", x+(iconSize-16)/2, y+(iconSize-16)/2, icons[name])
}

// open starts the group of a node.
func (w *svgWriter) open(b box, class string) State {
	p := w.o.Overlay[b.node.title]
	state, about := p.Do, b.node.about()
	if b.undo {
		state = p.Undo
		class += " amd-undo"
		about = b.node.undo + " undoes " + b.node.title
		if b.node.block() {
			about = "undo of what ran in " + b.node.title
		}
	} else {
		class += " " + iconOf(b.node.def)
	}
	if state > 0 {
		about += "\n" + strings.TrimSpace(state.String()+" "+p.Note)
	}
	w.f(`<g class="amd-node %s%s" data-path="%s">`, class, state.class(), esc(b.node.title))
	w.f("<title>%s</title>\n", esc(about))
	return state
}

func (w *svgWriter) step(b box) {
	state := w.open(b, "amd-step")
	w.f(`<rect class="amd-card" x="%d" y="%d" width="%d" height="%d" rx="9"/>`+"\n", b.x, b.y, b.w, b.h)
	n := b.node
	if b.undo {
		w.icon(b.x+6, b.y+(b.h-iconSize)/2, "undo")
		x := b.x + boxPad + iconSize
		room := b.x + b.w - boxPad - x
		w.text(x+2, b.y+16, esc(fontDetail.clip(n.undo, room)), fontDetail, "")
		w.text(x+2, b.y+30, esc(fontLabel.clip("undoes "+n.title, room)), fontLabel, "")
	} else {
		w.icon(b.x+boxPad, b.y+(b.h-iconSize)/2, iconOf(n.def))
		x := b.x + boxPad + iconSize + iconGap
		room := b.x + b.w - boxPad - x
		pill := 0
		if n.pill != "" {
			pill = pillWidth(n.pill)
			w.pill(b.x+b.w-boxPad-pill, b.y+8, pill, n.pill)
			pill += iconGap
		}
		w.text(x, b.y+20, esc(fontTitle.clip(n.title, room-pill)), fontTitle, "")
		w.text(x, b.y+36, esc(fontDetail.clip(n.detail, room)), fontDetail, "")
	}
	w.badge(b, state)
	w.f("</g>\n")
}

func (w *svgWriter) pill(x, y, width int, text string) {
	w.f(`<rect class="amd-pill" x="%d" y="%d" width="%d" height="16" rx="8"/>`, x, y, width)
	w.text(x+6, y+12, esc(text), fontPill, "")
}

func (w *svgWriter) block(b box) {
	state := w.open(b, "amd-block")
	if b.node.def.Node == sagas.NodeEach { // as a stack of cards
		w.f(`<path class="amd-behind" d="M%d %dv%da8 8 0 0 1-8 8h-%d"/>`+"\n", b.x+b.w+4, b.y+10, b.h-14, b.w-18)
	}
	w.f(`<rect class="amd-box" x="%d" y="%d" width="%d" height="%d" rx="12"/>`+"\n", b.x, b.y, b.w, b.h)
	n := b.node
	if b.undo {
		w.text(b.x+12, b.y+16, esc(fontLabel.clip("undo of "+n.title, b.w-24)), fontLabel, "amd-undo-ink")
	} else {
		w.icon(b.x+6, b.y+5, iconOf(n.def))
		x := b.x + 6 + iconSize + 8
		end := b.x + b.w - boxPad
		title := fontTitle.clip(n.title, end-x-pillWidth(n.pill)-iconGap)
		w.text(x, b.y+23, esc(title), fontTitle, "")
		x += fontTitle.width(title) + iconGap
		w.pill(x, b.y+10, pillWidth(n.pill), n.pill)
		x += pillWidth(n.pill) + iconGap
		if room := end - x; room > 40 {
			w.text(x, b.y+22, esc(fontDetail.clip(n.detail, room)), fontDetail, "")
		}
	}
	w.badge(b, state)
	w.f("</g>\n")
}

var badges = map[State]string{
	Active:    "M-3 0h.01M0 0h.01M3 0h.01",
	Done:      "M-3.2.2-1 2.5 3.2-2.2",
	Refused:   "M-2.5-2.5 2.5 2.500M2.5-2.5-2.5 2.5",
	Failed:    "M-2.5-2.5 2.5 2.500M2.5-2.5-2.5 2.5",
	Skipped:   "M-3 0H3",
	Attention: "M0-3.500V.8M0 3.300v.01",
	Undone:    "M-3.2-1H1a2 2 0 0 1 0 4.200H-1M-1.2-3.2-3.4-1l2.2 2.2",
	Waived:    "M-3 0H3",
}

// badge says the state with a shape, so that colour is never the only sign.
func (w *svgWriter) badge(b box, s State) {
	path := badges[s]
	if path == "" {
		return
	}
	w.f(`<g class="amd-badge" transform="translate(%d %d)"><circle r="9"/><path d="%s"/></g>`+"\n", b.x+b.w-3, b.y+2, path)
	p := w.o.Overlay[b.node.title]
	if p.Note == "" || b.undo != (p.Undo > 0) {
		return
	}
	note := fontPill.clip(p.Note, b.w-20)
	width := pillWidth(note)
	w.f(`<g class="amd-note"><rect x="%d" y="%d" width="%d" height="16" rx="8"/>`, b.x+b.w-width-8, b.y+b.h-8, width)
	w.text(b.x+b.w-width-2, b.y+b.h+4, esc(note), fontPill, "")
	w.f("</g>\n")
}

const (
	cornerRadius = 8
	headLength   = 7
)

// line draws a polyline with round corners, and the head of an arrow at its end.
func (w *svgWriter) line(l line) {
	pts := l.pts
	n := len(pts)
	last, prev := pts[n-1], pts[n-2]
	class := strings.TrimSpace("amd-line " + l.class)
	w.f(`<path class="%s" d="M%d %d`, class, pts[0].x, pts[0].y)
	for i := 1; i < n-1; i++ {
		a, c, b := pts[i-1], pts[i], pts[i+1]
		r := min(cornerRadius, distance(a, c)/2, distance(c, b)/2)
		in, out := toward(c, a, r), toward(c, b, r)
		w.f("L%d %dQ%d %d %d %d", in.x, in.y, c.x, c.y, out.x, out.y)
	}
	tip := last
	if l.arrow {
		tip = toward(last, prev, min(headLength, distance(last, prev)))
	}
	w.f(`L%d %d"/>`, tip.x, tip.y)
	if l.arrow {
		dx, dy := sign(last.x-prev.x), sign(last.y-prev.y)
		w.f(`<path class="amd-head %s" d="M%d %dL%d %dL%d %dz"/>`, l.class, last.x, last.y,
			last.x-headLength*dx-4*dy, last.y-headLength*dy-4*dx, last.x-headLength*dx+4*dy, last.y-headLength*dy+4*dx)
	}
	w.f("\n")
}

func distance(a, b point) int { return abs(a.x-b.x) + abs(a.y-b.y) }

// toward is the point r pixels from a in the direction of b; both are on one horizontal or vertical.
func toward(a, b point, r int) point {
	return point{a.x + r*sign(b.x-a.x), a.y + r*sign(b.y-a.y)}
}

func abs(n int) int { return max(n, -n) }

func sign(n int) int {
	switch {
	case n > 0:
		return 1
	case n < 0:
		return -1
	}
	return 0
}

// esc makes s fit for the text and the attributes of a document. Characters that XML cannot have
// become the replacement character.
func esc(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}
