// Package diagram draws a definition: the forward path from left to right, below it the undo chain
// from right to left, each undo under the step that it undoes, and the point of no return between
// what can be taken back and what cannot.
//
//	d := diagram.New(def)
//	svg := d.SVG(diagram.Options{})
//
// One tree of what is to be seen is made from the definition; one layout in whole pixels is made
// from the tree for SVG. Mermaid, DOT and text come from the same tree, so all of them show the same
// nodes with the same words. Nothing here depends on a clock, on the machine or on the order of a
// map: the same definition gives the same bytes.
//
// An SVG stands alone: no script, no font and no picture from elsewhere, light and dark by the
// reader's preference. Each node is a group with its id in data-path; an Overlay gives the groups a
// class for their state, so that the picture of an instance is the picture of its definition.
// A page with a strict content policy takes the style sheet apart, from CSS.
package diagram
