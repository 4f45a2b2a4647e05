package sagas

// Paging sets from how many items on an each lies in pages, of how many items, and from how many bytes on
// an input lies apart. It returns what undoes that.
func Paging(items, page, input int) (undo func()) {
	a, b, c := pagedItems, pageItems, inputApart
	pagedItems, pageItems, inputApart = items, page, input
	return func() { pagedItems, pageItems, inputApart = a, b, c }
}

// Parts says how many pages the instance has, and how many of them are in memory.
func (i *Instance) Parts() (pages, there int) {
	if i == nil || i.shelf == nil {
		return 0, 0
	}
	for _, t := range i.shelf.there {
		if t {
			there++
		}
	}
	return i.shelf.pages, there
}
