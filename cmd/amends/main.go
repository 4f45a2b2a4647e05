// Command amends runs sagas on Kafka and is the tool to work with them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run executes one command line and returns its exit code.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	t := terminal{out: os.Stdout, err: os.Stderr, tty: isTTY(os.Stdout)}
	if isTerminal(os.Stdin) {
		t.in = os.Stdin
	}
	root := newRoot(&t)
	root.SetArgs(args)
	return t.exit(root.ExecuteContext(ctx))
}
