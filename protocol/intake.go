package protocol

// DecodeIntake reads a record of the intake topic: *Start or *Cancel.
func DecodeIntake(key, value []byte, h []Header) (any, error) { panic("protocol: DecodeIntake") }

// DecodeControl reads a record of the control topic.
func DecodeControl(key, value []byte, h []Header) (*Admin, error) { panic("protocol: DecodeControl") }
