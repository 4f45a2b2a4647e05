package diagram

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amendsio/amends/sagas"
)

var update = flag.Bool("update", false, "write the golden files anew; then look at them")

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs. If it is meant to: go test ./diagram -update, and look at the picture", path)
	}
}

func TestGolden(t *testing.T) {
	for name, def := range map[string]*sagas.Definition{"card-payment": cardPayment(t), "everything": allNodes(), "crossed": crossed()} {
		d := New(def)
		golden(t, name+".svg", d.SVG(Options{}))
		golden(t, name+".mmd", []byte(d.Mermaid()))
		golden(t, name+".dot", []byte(d.DOT()))
		golden(t, name+".txt", []byte(d.Text(TextOptions{})))
		again := New(def)
		if !bytes.Equal(d.SVG(Options{}), again.SVG(Options{})) || d.Mermaid() != again.Mermaid() || d.DOT() != again.DOT() {
			t.Errorf("%s: two pictures of one definition differ", name)
		}
	}
}

// TestDocs keeps the picture of the manual what the command draws.
func TestDocs(t *testing.T) {
	golden(t, "../../docs/card-payment.svg", New(cardPayment(t)).SVG(Options{}))
}

// refused is an instance that turned round at the capture.
var refused = sagas.View{Steps: []sagas.StepView{
	{Path: "auth", State: "DONE", Undo: "UNDONE"},
	{Path: "reserve", State: "DONE", Undo: "U_PENDING"},
	{Path: "capture", State: "REFUSED"},
	{Path: "ship", State: "ABANDONED"},
}, Attention: []sagas.AttentionView{{Path: "reserve", Reason: "UNDO_SLOW"}}}

func TestOverlay(t *testing.T) {
	d := New(cardPayment(t))
	o := OverlayOf(refused)
	for id, want := range map[string]Progress{"auth": {Do: Done, Undo: Undone}, "reserve": {Do: Done, Undo: Attention}, "capture": {Do: Refused}, "ship": {Do: Skipped}} {
		if o[id] != want {
			t.Errorf("%s: %+v, want %+v", id, o[id], want)
		}
	}
	golden(t, "card-payment-refused.svg", d.SVG(Options{Overlay: o}))
	golden(t, "card-payment-refused.txt", []byte(d.Text(TextOptions{Overlay: o})))

	items := OverlayOf(sagas.View{Steps: []sagas.StepView{
		{Path: "lines", State: "OPEN"},
		{Path: "lines[a]/reserve", State: "DONE"}, {Path: "lines[b]/reserve", State: "DONE"}, {Path: "lines[c]/reserve", State: "IDLE"},
	}})
	if want := (Progress{Do: Active, Note: "2 of 3"}); items["reserve"] != want {
		t.Errorf("items: %+v, want %+v", items["reserve"], want)
	}
	if items["lines"].Do != Active {
		t.Errorf("an open block: %v", items["lines"].Do)
	}
}

// TestSelfContained looks at what a strict reader of SVG would not like.
func TestSelfContained(t *testing.T) {
	def := allNodes()
	def.Steps[0].Sleep.Until = "\"<script>&\x01\" + ']]>'"
	for _, o := range []Options{{}, {NoStyle: true, NoTitle: true}, {Theme: "dark"}, {Theme: `"x`}} {
		svg := New(def).SVG(o)
		dec := xml.NewDecoder(bytes.NewReader(svg))
		dec.Strict = true
		for {
			tok, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%+v: not XML: %v", o, err)
			}
			el, ok := tok.(xml.StartElement)
			if !ok {
				continue
			}
			switch el.Name.Local {
			case "script", "image", "use", "foreignObject", "a", "link":
				t.Errorf("%+v: has an element %s", o, el.Name.Local)
			case "style":
				if o.NoStyle {
					t.Errorf("a style without wanting one")
				}
			}
			for _, a := range el.Attr {
				if a.Name.Local == "style" || strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "href" || a.Name.Local == "id" {
					t.Errorf("%+v: has an attribute %s=%q", o, a.Name.Local, a.Value)
				}
			}
		}
		for _, bad := range []string{"url(", "@import", "@font-face", "http://", "https://"} {
			text := strings.Replace(string(svg), `xmlns="http://www.w3.org/2000/svg"`, "", 1)
			if strings.Contains(text, bad) {
				t.Errorf("%+v: has %q", o, bad)
			}
		}
	}
}

// TestEveryNode wants each node, and each undo before the point of no return, in every output.
func TestEveryNode(t *testing.T) {
	def := allNodes()
	d := New(def)
	svg, mermaid, dot, text := string(d.SVG(Options{})), d.Mermaid(), d.DOT(), d.Text(TextOptions{Width: 400})
	nodes := 0
	d.root.walk(func(n *node) {
		nodes++
		if !strings.Contains(svg, `data-path="`+n.title+`"`) {
			t.Errorf("%s is not in the SVG", n.title)
		}
		for name, out := range map[string]string{"Mermaid": mermaid, "DOT": dot, "text": text} {
			if !strings.Contains(out, n.title) {
				t.Errorf("%s is not in the %s", n.title, name)
			}
			if n.undo != "" && !strings.Contains(out, n.undo) {
				t.Errorf("the undo of %s is not in the %s", n.title, name)
			}
		}
	})
	if nodes < 30 {
		t.Errorf("only %d nodes: does the fixture still have all kinds?", nodes)
	}
	for kind := sagas.NodeCall; kind <= sagas.NodeContinue; kind++ {
		found := false
		d.root.walk(func(n *node) { found = found || n.def.Node == kind })
		if !found {
			t.Errorf("no node of kind %s in the fixture", kind)
		}
		if icons[kind.String()] == "" {
			t.Errorf("kind %s has no icon", kind)
		}
	}
}
