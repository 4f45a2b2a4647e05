package sagas

func (e *stateWriter) frame(f *Frame) {
	e.uint(uint64(f.ID))
	e.uint(uint64(f.In))
	e.uint(uint64(f.Node))
	e.uint(uint64(f.Lane))
	e.text(f.Key)
	e.uint(uint64(f.Number))
	e.byte(byte(f.State))
	e.bytes(f.Item)
	e.cause(&f.Cause)
}

func (d *stateReader) frames(i *Instance) {
	n := d.count(9)
	if n > MaxFrames {
		d.fail("%d frames", n)
		return
	}
	if n > 0 {
		i.Frames = make([]Frame, 0, n)
		for range n {
			f := d.frame(i)
			if d.err == nil && f.In != 0 && i.frame(f.In) == nil {
				d.fail("frame %d lies in frame %d", f.ID, f.In)
			}
			i.Frames = append(i.Frames, f)
		}
	}
}

// frame reads a frame. Numbers grow, and a frame lies in an older one: so the frames are a tree.
func (d *stateReader) frame(i *Instance) (f Frame) {
	f.ID, f.In = d.uint32(), d.uint32()
	f.Node, f.Lane = d.index(), d.index()
	f.Key = d.text()
	f.Number = d.uint32()
	f.State = FrameState(d.enum(byte(FrameUndone)))
	f.Item = d.bytes()
	f.Cause = d.cause()
	switch {
	case d.err != nil:
	case f.State == 0 || f.ID > i.Frame || f.ID == 0 || len(i.Frames) > 0 && f.ID <= i.Frames[len(i.Frames)-1].ID:
		d.fail("frame %d, state %d", f.ID, f.State)
	case f.In != 0 && f.In >= f.ID:
		d.fail("frame %d lies in frame %d", f.ID, f.In)
	}
	return f
}
