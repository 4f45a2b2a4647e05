// Package sqlinbox keeps a participant's inbox in a table of the service's own database, over database/sql:
// PostgreSQL, MySQL 8 and SQLite. The row of a command, what its handler changes and the stored answer are one
// transaction of that database.
//
//	db, err := sql.Open("pgx", dsn)
//	box, err := sqlinbox.New(sqlinbox.Config{DB: db, Dialect: sqlinbox.PostgreSQL})
//	err = box.Create(ctx) // or run the statements of sqlinbox.DDL with your migrations
//	p, err := participant.New(participant.Config{Name: "stock", Client: client, Inbox: box})
//	participant.Do(p, "reserve", func(ctx context.Context, tx participant.Tx, in Reserve) (Reserved, error) {
//		_, err := sqlinbox.Of(tx).ExecContext(ctx, "update stock set free = free - $1 where sku = $2", in.Quantity, in.SKU)
//		return Reserved{ID: tx.Key()}, err
//	})
//
// What it promises:
//
//   - A handler sees statements of its transaction and no Commit, no Rollback: it cannot make a change that is
//     kept without its answer, nor an answer that is kept without its change. Of is dead once the handler returned.
//   - A row is inserted and then looked at, never the other way round: an undo and its do, in whichever processes
//     they run, meet on the primary key of the do's row, and one waits for the other.
//   - Transactions of one key are serialisable at any isolation level of the database, because all begin with that
//     row and hold it; so are those that use the same key of Tx.Get, Put and Delete. Statements of the handler's
//     own run at Config.Isolation, by default the database's.
//   - A transaction that the database breaks off because of another one (deadlock, serialisation failure, lock
//     timeout) is begun again a few times, then answered BUSY. A handler may therefore run more than once for one
//     answer; what it changed before is rolled back.
//   - Rows are forgotten after Config.Retention, at most Config.SweepRows at a time, after a command was answered:
//     no command pays for a long sweep, and no goroutine is needed.
//
// The package imports no driver. An external call (participant.External) runs between two transactions, so Of
// gives it statements that fail with ErrNoTx; such a handler writes by Tx.Put, which is kept with its answer.
package sqlinbox
