// Package verify checks what deploy/ ships against the software that will read it: the chart is rendered
// as Helm does and decoded strictly as the Kubernetes API types, dashboards and rules are parsed by
// Prometheus' own parser and may use only metrics that the engine has, the unit file is read by systemd.
//
// It is a module of its own so that nobody who builds amends downloads Kubernetes and Prometheus.
package verify
