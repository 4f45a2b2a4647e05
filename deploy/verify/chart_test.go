package verify

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigyaml "sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const release = "pay"

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load("../helm/amends")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// render gives all documents of the chart as Helm would send them.
func render(c *chart.Chart, values string) (map[string]string, error) {
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		return nil, err
	}
	all, err := chartutil.ToRenderValues(c, given, chartutil.ReleaseOptions{Name: release, Namespace: "payments", IsInstall: true}, nil)
	if err != nil {
		return nil, err // the schema's findings are among these
	}
	return engine.Render(c, all)
}

// decode reads a rendered file strictly: a field that the API does not have is an error.
func decode(t *testing.T, text string) (objects []runtime.Object) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, policyv1.AddToScheme, networkingv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
	docs := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		doc, err := docs.Read()
		if err == io.EOF {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		if isEmpty(doc) {
			continue
		}
		object, _, err := strict.Decode(doc, nil, nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		objects = append(objects, object)
	}
}

func isEmpty(doc []byte) bool {
	for line := range bytes.Lines(doc) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' && !bytes.Equal(line, []byte("---")) {
			return false
		}
	}
	return true
}

const least = `
image: {repository: registry.example/amends, tag: v1}
config: {brokers: ["kafka-0.kafka:9092"], namespace: pay}
apiTokens: {name: amends-api}
`

const full = `
image: {repository: registry.example/amends, digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}
imagePullSecrets: [{name: pull}]
replicas: 5
config: {brokers: [a:9092, b:9092], namespace: pay, log-level: warn, tasks: 20, partitions: 40}
tokenSecret: {name: amends-token}
apiTokens: {name: amends-api, key: people}
alertWebhook: {name: amends-alerts, tokenKey: token}
port: 9000
persistence: {size: 100Gi, storageClass: fast}
podAnnotations: {team: payments}
podLabels: {team: payments}
nodeSelector: {disk: ssd}
tolerations: [{key: dedicated, operator: Exists, effect: NoSchedule}]
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: arch, operator: In, values: [amd64]}]}]}}}
extraEnv: [{name: GOGC, value: "200"}]
serviceAccount: {annotations: {role: saga}}
networkPolicy: {enabled: true, from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: payments}}}]}
`

// TestChart renders the chart with the fewest values and with all of them. What comes out is what the
// golden file says, and nothing in it is unknown to the Kubernetes API.
func TestChart(t *testing.T) {
	for name, values := range map[string]string{"least": least, "full": full} {
		t.Run(name, func(t *testing.T) {
			files, err := render(load(t), values)
			if err != nil {
				t.Fatal(err)
			}
			var golden bytes.Buffer
			for _, file := range slices.Sorted(maps.Keys(files)) {
				if strings.HasSuffix(file, ".yaml") {
					decode(t, files[file])
				}
				fmt.Fprintf(&golden, "# Source: %s\n%s\n", file, strings.TrimSpace(files[file]))
			}
			path := "testdata/chart-" + name + ".yaml"
			if *update {
				if err := os.WriteFile(path, golden.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want, golden.Bytes()) {
				t.Errorf("the chart renders differently from %s; look at the difference, then go test -update", path)
			}
		})
	}
}

// TestStatefulSet: what a roll without a gap depends on.
func TestStatefulSet(t *testing.T) {
	files, err := render(load(t), full)
	if err != nil {
		t.Fatal(err)
	}
	set := decode(t, files["amends/templates/statefulset.yaml"])[0].(*appsv1.StatefulSet)
	if set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement || *set.Spec.Replicas != 5 || set.Spec.MinReadySeconds == 0 {
		t.Errorf("%+v", set.Spec)
	}
	pod := set.Spec.Template.Spec
	if *pod.TerminationGracePeriodSeconds < 40 {
		t.Errorf("a stop may take 30 s and gets %d", *pod.TerminationGracePeriodSeconds)
	}
	c := pod.Containers[0]
	if c.LivenessProbe.HTTPGet.Path != "/livez" || c.ReadinessProbe.HTTPGet.Path != "/readyz" || c.StartupProbe.HTTPGet.Path != "/livez" {
		t.Errorf("probes: %v %v %v", c.LivenessProbe, c.ReadinessProbe, c.StartupProbe)
	}
	if c.Lifecycle != nil {
		t.Error("a preStop hook: SIGTERM does the hand-over")
	}
	if !*pod.SecurityContext.RunAsNonRoot || !*c.SecurityContext.ReadOnlyRootFilesystem || *c.SecurityContext.AllowPrivilegeEscalation {
		t.Error("the pod has rights that it does not need")
	}
	claim := set.Spec.VolumeClaimTemplates[0].Spec
	if claim.Resources.Requests.Storage().String() != "100Gi" || *claim.StorageClassName != "fast" {
		t.Errorf("%+v", claim)
	}
	services := decode(t, files["amends/templates/service.yaml"])
	if s := services[1].(*corev1.Service); s.Name != set.Spec.ServiceName || s.Spec.ClusterIP != "None" || !s.Spec.PublishNotReadyAddresses {
		t.Errorf("%+v", s.Spec)
	}
	for _, object := range services {
		for label, value := range object.(*corev1.Service).Spec.Selector {
			if set.Spec.Template.Labels[label] != value {
				t.Errorf("a service selects %s=%s, which no pod has", label, value)
			}
		}
	}
	if b := decode(t, files["amends/templates/pdb.yaml"])[0].(*policyv1.PodDisruptionBudget); b.Spec.MaxUnavailable.IntValue() != 1 {
		t.Errorf("%+v", b.Spec)
	}
	config := decode(t, files["amends/templates/configmap.yaml"])[0].(*corev1.ConfigMap)
	var settings map[string]any
	if err := sigyaml.UnmarshalStrict([]byte(config.Data["config.yaml"]), &settings); err != nil || settings["namespace"] != "pay" {
		t.Errorf("%v %v", settings, err)
	}
}

// TestValuesAreChecked: what cannot work is refused before it is installed.
func TestValuesAreChecked(t *testing.T) {
	for name, values := range map[string]string{
		"no image":          "config: {brokers: [a:1], namespace: pay}",
		"no brokers":        "image: {repository: r}\nconfig: {namespace: pay}",
		"no namespace":      "image: {repository: r}\nconfig: {brokers: [a:1]}",
		"no authentication": "image: {repository: r, tag: v1}\nconfig: {brokers: [a:1], namespace: pay}",
		"a typing mistake":  least + "replica: 3",
		"own data-dir":      "image: {repository: r}\nconfig: {brokers: [a:1], namespace: pay, api-insecure: true, data-dir: /x}",
		"too short a grace": least + "terminationGracePeriodSeconds: 5",
		"a strange digest":  "image: {repository: r, digest: abc}\nconfig: {brokers: [a:1], namespace: pay, api-insecure: true}",
	} {
		if _, err := render(load(t), values); err == nil {
			t.Errorf("%s: was taken", name)
		}
	}
}
