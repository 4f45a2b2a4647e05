// Package monitoring makes the Grafana dashboard, the Prometheus rules and the list of metrics of this
// folder out of the names that the engine declares. `make golden` writes them again; a test holds them
// together, and deploy/verify has Prometheus parse them.
package monitoring
