package diagram

import "github.com/amendsio/amends/sagas"

// icons are drawn in a field of 16 by 16 with lines of 1.5, round ends, no fill.
var icons = map[string]string{
	"call":      "M2.5 8h8M7.5 4.5 11 8l-3.5 3.5M13.5 3v10",
	"pivot":     "M4.5 7V5.2a3.5 3.5 0 0 1 7 0V7M3.5 7h9v6.2h-9zM8 9.4v1.6",
	"retriable": "M13 8a5 5 0 1 1-1.6-3.7M13.2 2.2v2.9h-2.9",
	"optional":  "M8 2.8a5.2 5.2 0 0 1 5.2 5.2M8 13.2A5.2 5.2 0 0 1 2.8 8M11.9 11.4l-.5.5M4.6 4.1l-.5.5M6.4 8h3.2",
	"readonly":  "M1.8 8S4 3.8 8 3.8 14.2 8 14.2 8 12 12.2 8 12.2 1.8 8 1.8 8zM8 6.3a1.7 1.7 0 1 1 0 3.4 1.7 1.7 0 0 1 0-3.4z",
	"parallel":  "M2 8h2.5M4.5 3.5v9M4.5 3.5H14M4.5 12.5H14M4.5 8H14",
	"choose":    "M8 1.8 14.2 8 8 14.2 1.8 8zM6.6 6.6a1.5 1.5 0 1 1 2 1.5c-.4.2-.6.5-.6.9M8 10.9v.1",
	"each":      "M5.2 5.2h8.6v8.6H5.2zM2.2 10.8V2.2h8.6",
	"race":      "M3 14V2.4M3 3h9.8l-2 3 2 3H3",
	"scope":     "M8 1.9 13.6 4v4c0 3.2-2.4 5.4-5.6 6.3C4.8 13.4 2.4 11.2 2.4 8V4zM5.6 8l1.8 1.8 3.2-3.5",
	"repeat":    "M3 7V5.800a2 2 0 0 1 2-2h7.800M10.6 1.600l2.3 2.2-2.3 2.200M13 9v1.200a2 2 0 0 1-2 2H3.200M5.4 14.400l-2.3-2.200L5.4 10",
	"saga":      "M2 2.500h12v11H2zM5 8h3M10 6.300h2v3.400h-2zM5 6.200v3.6",
	"await":     "M2 3.800h12v8.400H2zM2 4.500l6 4.3 6-4.3",
	"sleep":     "M8 2.200a5.8 5.8 0 1 1 0 11.600A5.8 5.8 0 0 1 8 2.200zM8 4.800V8l2.2 1.6",
	"approve":   "M6.2 2.400a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5zM1.8 13.600c0-2.6 1.8-4.1 4.4-4.1 1.1 0 2.1.3 2.8.8M9.6 12.300l1.7 1.7 3.2-3.5",
	"emit":      "M8 7a1.2 1.2 0 1 1 0 2.400A1.2 1.2 0 0 1 8 7zM5.2 11a4 4 0 0 1 0-5.700M10.8 5.300a4 4 0 0 1 0 5.700M3 13a7 7 0 0 1 0-9.800M13 3.200A7 7 0 0 1 13 13",
	"set":       "M3 5.800h10M3 10.200h10",
	"fail":      "M5.4 1.900h5.200l3.5 3.500v5.200l-3.5 3.500H5.400l-3.5-3.500V5.400zM5.9 5.900l4.2 4.200M10.1 5.900l-4.2 4.2",
	"finish":    "M3.5 14.200V2.200M3.5 2.800h9v6.400h-9M8 2.800v6.400M3.5 6h9",
	"continue":  "M2 8h8M7 4.6 10.4 8 7 11.400M13.6 3.200a8 8 0 0 1 0 9.6",
	"undo":      "M3.2 6.400h6.600a3.6 3.6 0 0 1 0 7.200H6M6.2 3 2.8 6.400l3.4 3.4",
}

// iconOf names the icon of a node, which is also a class of its group.
func iconOf(s *sagas.StepDef) string {
	if s.Node != sagas.NodeCall {
		return s.Node.String()
	}
	switch s.Kind {
	case sagas.Pivot, sagas.Retriable, sagas.Optional, sagas.ReadOnly:
		return s.Kind.String()
	}
	return "call"
}
