package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/diagram"
	"github.com/amendsio/amends/sagas"
)

func newDiagramCommand(t *terminal) *cobra.Command {
	var saga, format, out, theme, instance string
	cmd := &cobra.Command{
		Use:   "diagram FILE",
		Short: "Draw a definition: the way forward, the undo chain, the point of no return",
		Long: `Draw a definition. The way forward runs from left to right; below it, from right to left, each
undo stands under the step that it undoes. Nothing left of the point of no return is left behind
when something fails; right of it the saga only goes forward.

Formats: text for the terminal, svg (a file that stands alone, light and dark), mermaid for Markdown
pages that draw it themselves, dot for Graphviz. With --out the ending of the file chooses.

With --instance the text and the svg show how far an instance of this very definition has got.`,
		Example: `  amends diagram card-payment.yaml
  amends diagram card-payment.yaml --out card-payment.svg
  amends diagram sagas.yaml --saga fx-transfer -o mermaid
  amends diagram card-payment.yaml --instance card-payment/order-1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("output") {
				format = formatOf(out)
			}
			defs, err := readDefinitions(args)
			if err != nil {
				return err
			}
			def, err := pickDefinition(defs, saga)
			if err != nil {
				return err
			}
			d := diagram.New(def)
			var overlay diagram.Overlay
			if instance != "" {
				api, err := apiOf(cmd)
				if err != nil {
					return err
				}
				if overlay, err = instanceOverlay(cmd, api, def, instance); err != nil {
					return err
				}
			}
			var data []byte
			switch format {
			case "text":
				data = []byte(d.Text(diagram.TextOptions{Overlay: overlay}))
			case "svg":
				data = d.SVG(diagram.Options{Theme: theme, Overlay: overlay})
			case "mermaid":
				data = []byte(d.Mermaid())
			case "dot":
				data = []byte(d.DOT())
			default:
				return usage("-o %s is not a known format: text, svg, mermaid, dot", format)
			}
			if out != "" && out != "-" {
				return os.WriteFile(out, data, 0o644)
			}
			_, err = t.out.Write(data)
			return err
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text, svg, mermaid or dot")
	cmd.Flags().StringVar(&out, "out", "", "file to write instead of standard output")
	cmd.Flags().StringVar(&saga, "saga", "", "which saga of a file of several, as type or type@version")
	cmd.Flags().StringVar(&theme, "theme", "", "of svg: light or dark; by default what the reader prefers")
	cmd.Flags().StringVar(&instance, "instance", "", "workflow ID of an instance to show in it, TYPE/ID")
	serverFlags(cmd)
	return cmd
}

// instanceOverlay asks how far an instance has got. Another content under the same name would show
// its steps in the wrong places, so the digest must fit.
func instanceOverlay(cmd *cobra.Command, api *apiClient, def *sagas.Definition, id string) (diagram.Overlay, error) {
	if err := checkWorkflowID(id); err != nil {
		return nil, err
	}
	v, err := api.instance(cmd.Context(), id)
	if err != nil {
		return nil, err
	}
	if v.Digest != "" && v.Digest != def.Digest().String() {
		return nil, withCode(exitConflict, "%s runs %s@%d with digest %.12s, but the file has %s with digest %.12s", id, v.Type, v.Version, v.Digest, def.Ref(), def.Digest())
	}
	return diagram.OverlayOf(v), nil
}

// formatOf is the format that the ending of a file stands for.
func formatOf(out string) string {
	for ending, format := range map[string]string{".svg": "svg", ".mmd": "mermaid", ".mermaid": "mermaid", ".dot": "dot", ".gv": "dot"} {
		if strings.HasSuffix(out, ending) {
			return format
		}
	}
	return "text"
}

// pickDefinition finds a definition by type or type@version among those of a file; "" is the only
// one.
func pickDefinition(defs []*sagas.Definition, name string) (*sagas.Definition, error) {
	var found []*sagas.Definition
	var refs []string
	for _, d := range defs {
		refs = append(refs, d.Ref())
		if name == "" || name == d.Saga || name == d.Ref() {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return nil, withCode(exitNotFound, "there is no saga %s in the file: it has %s", name, strings.Join(refs, ", "))
	}
	return nil, usage("the file has several definitions (%s): choose one with --saga", strings.Join(refs, ", "))
}
