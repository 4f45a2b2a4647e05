package sagas

// Step consumes one event and moves the instance.
func Step(p *Plan, inst *Instance, ev Event, now Time) (*Instance, []Effect) { panic("sagas: not yet") }
