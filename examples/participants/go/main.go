// Command go is a participant over PostgreSQL with the kit: see README.md.
package main

import (
	"context"
	"database/sql"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/participant/sqlinbox"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, log); err != nil {
		log.Error(err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, log *slog.Logger) error {
	name := os.Getenv("PARTICIPANT")
	if name == "" {
		name = "stock"
	}
	db, err := sql.Open("pgx", os.Getenv("PG_DSN"))
	if err != nil {
		return err
	}
	defer db.Close()
	inbox, err := sqlinbox.New(sqlinbox.Config{DB: db, Dialect: sqlinbox.PostgreSQL})
	if err != nil {
		return err
	}
	if err := inbox.Create(ctx); err != nil {
		return err
	}
	client := []kgo.Opt{kgo.SeedBrokers(strings.Split(os.Getenv("BROKERS"), ",")...), kgo.SessionTimeout(6 * time.Second)}
	if i := os.Getenv("INSTANCE"); i != "" {
		client = append(client, kgo.InstanceID(i))
	}
	p, err := participant.New(participant.Config{Name: name, Inbox: inbox, Logger: log, Client: client})
	if err != nil {
		return err
	}
	participant.Do(p, "reserve", execute)
	participant.Undo(p, "release", reverse)
	return p.Run(ctx)
}
