package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// meter counts requests. Labels are the pattern of the route, never an id.
type meter struct {
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
}

// newMeter registers the metrics; nil counts for nobody.
func newMeter(reg prometheus.Registerer) *meter {
	m := &meter{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "amends_http_requests_total", Help: "Requests of the HTTP API, by route, method and status."}, []string{"route", "method", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "amends_http_request_duration_seconds", Help: "Time that requests of the HTTP API took, event streams and waits included.",
			Buckets: []float64{.001, .005, .025, .1, .3, 1, 5, 30}, NativeHistogramBucketFactor: 1.1}, []string{"route"}),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.took)
	}
	return m
}

func (m *meter) measure(w http.ResponseWriter, r *http.Request, next http.Handler) {
	began := time.Now()
	st := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	seen := new(string)
	next.ServeHTTP(st, r.WithContext(withPattern(r.Context(), seen)))
	route := *seen
	if route == "" {
		route = "other"
	}
	m.requests.WithLabelValues(route, method(r.Method), strconv.Itoa(st.status)).Inc()
	m.took.WithLabelValues(route).Observe(time.Since(began).Seconds())
}

// method keeps strange methods out of the labels.
func method(m string) string {
	if m == http.MethodGet || m == http.MethodPost || m == http.MethodHead {
		return m
	}
	return "other"
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	if h := w.Header(); len(h[HeaderNode]) > 1 { // the owner answered, not we
		h[HeaderNode] = h[HeaderNode][len(h[HeaderNode])-1:]
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
