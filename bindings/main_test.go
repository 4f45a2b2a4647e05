package bindings

import "time"

var eventTime = time.Date(2026, 2, 3, 4, 5, 6, 7_000_000, time.UTC)
