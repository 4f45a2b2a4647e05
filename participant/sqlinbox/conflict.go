package sqlinbox

import (
	"errors"
	"strings"
)

// isConflict recognises, by what drivers have in common and without importing one, an error that says: another
// transaction was in the way, nothing is wrong, begin again.
func isConflict(err error) bool {
	var state interface{ SQLState() string } // pgx, lib/pq
	if errors.As(err, &state) {
		switch state.SQLState() {
		case "40001", "40P01", "55P03": // serialisation failure, deadlock, lock not available
			return true
		}
		return false
	}
	var coded interface{ Code() int } // modernc
	if errors.As(err, &coded) {
		switch coded.Code() & 0xff {
		case 5, 6: // SQLITE_BUSY, SQLITE_LOCKED
			return true
		}
		return false
	}
	text := err.Error()
	for _, sign := range []string{"Error 1213", "Error 1205", "Error 3572", "database is locked", "database table is locked"} { // go-sql-driver, mattn
		if strings.HasPrefix(text, sign) {
			return true
		}
	}
	return false
}
