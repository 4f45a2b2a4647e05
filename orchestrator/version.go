package orchestrator

// Version is that of this software. The linker sets it in releases:
// -ldflags "-X github.com/amendsio/amends/orchestrator.Version=1.2.3".
var Version = "0.1.0-dev"
