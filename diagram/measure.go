package diagram

import "strings"

// Text is measured by these tables and not by a font, so that a layout is the same everywhere. They
// are the advances of a wide sans-serif face (DejaVu Sans) in thousandths of the font size, for the
// characters from space to tilde; in a narrower face, which most are, the boxes have some air.
var (
	regular = [95]int{
		318, 401, 460, 838, 637, 951, 780, 275, 391, 391, 500, 838, 318, 361, 318, 337, 637, 637, 637, 637, 637, 637, 637, 637,
		637, 637, 337, 337, 838, 838, 838, 531, 1000, 685, 687, 699, 771, 632, 576, 775, 752, 295, 295, 656, 558, 863, 749, 788,
		604, 788, 695, 635, 611, 732, 685, 989, 686, 611, 686, 391, 337, 391, 838, 500, 500, 613, 635, 550, 635, 616, 353, 635,
		634, 278, 278, 580, 278, 975, 634, 612, 635, 635, 412, 521, 393, 634, 592, 818, 592, 592, 525, 637, 337, 637, 838,
	}
	bold = [95]int{
		349, 457, 521, 838, 696, 1002, 873, 307, 458, 458, 523, 838, 380, 416, 380, 366, 696, 696, 696, 696, 696, 696, 696, 696,
		696, 696, 400, 400, 838, 838, 838, 581, 1000, 774, 763, 734, 831, 684, 684, 821, 837, 373, 373, 775, 638, 996, 837, 851,
		733, 851, 771, 721, 683, 813, 774, 1104, 771, 725, 726, 458, 366, 458, 838, 500, 500, 675, 716, 593, 716, 679, 436, 716,
		712, 343, 343, 666, 343, 1042, 712, 688, 716, 716, 494, 596, 479, 712, 652, 924, 646, 652, 583, 712, 366, 712, 838,
	}
)

const (
	monoAdvance = 610  // of every character of a fixed-width face
	wideAdvance = 1050 // of a character that is not in the tables: at most a full square
)

// font is one of the few faces of a picture.
type font struct {
	class string
	size  int
	table *[95]int // nil = fixed width
}

var (
	fontHeading = font{"amd-h", 15, &bold}
	fontTitle   = font{"amd-t", 13, &bold}
	fontDetail  = font{"amd-d", 11, nil}
	fontLabel   = font{"amd-l", 11, &regular}
	fontPill    = font{"amd-p", 10, &bold}
)

// width is how many pixels s takes, rounded up.
func (f font) width(s string) int {
	sum := 0
	for _, r := range s {
		sum += f.advance(r)
	}
	return (sum*f.size + 999) / 1000
}

func (f font) advance(r rune) int {
	switch {
	case r >= 0x1100:
		switch r { // narrow ones that our own words use
		case '…', '→', '≤', '↶':
			if f.table == nil {
				return monoAdvance
			}
		}
		return wideAdvance
	case f.table == nil:
		return monoAdvance
	case r >= ' ' && r <= '~':
		return f.table[r-' ']
	}
	return 850
}

// clip cuts s to a width, with an ellipsis for what is gone.
func (f font) clip(s string, width int) string {
	s = oneLine(s)
	if f.width(s) <= width {
		return s
	}
	sum, cut := f.advance('…'), 0
	for i, r := range s {
		if sum += f.advance(r); (sum*f.size+999)/1000 > width {
			cut = i
			break
		}
	}
	return strings.TrimRight(s[:cut], " ,.(") + "…"
}

// oneLine makes s fit for a line: expressions may be written over several.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\n\r\t") {
		return s
	}
	return strings.Join(strings.Fields(s), " ")
}
