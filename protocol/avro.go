package protocol

// AppendAvro appends the single-object encoding of v: *Start, *Signal, *Cancel, *Admin,
// *CommandRecord, *ReplyRecord or *Lifecycle.
func AppendAvro(dst []byte, v any) ([]byte, error) { panic("protocol: AppendAvro") }

// DecodeAvro reads the single-object encoding of one of our records.
func DecodeAvro(b []byte) (any, error) { panic("protocol: DecodeAvro") }

// AppendLifecycle appends the single-object encoding of l.
func AppendLifecycle(dst []byte, l *Lifecycle) ([]byte, error) { panic("protocol: AppendLifecycle") }

// DecodeLifecycle reads what AppendLifecycle wrote.
func DecodeLifecycle(b []byte) (*Lifecycle, error) { panic("protocol: DecodeLifecycle") }
