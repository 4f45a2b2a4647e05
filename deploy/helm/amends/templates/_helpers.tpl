{{- define "amends.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "amends.labels" -}}
app.kubernetes.io/name: amends
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "amends.selector" -}}
app.kubernetes.io/name: amends
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "amends.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "amends.name" .) -}}
{{- end -}}

{{- define "amends.image" -}}
{{- $i := .Values.image -}}
{{- if $i.digest -}}{{ $i.repository }}@{{ $i.digest }}{{- else -}}{{ $i.repository }}:{{ $i.tag | default .Chart.AppVersion }}{{- end -}}
{{- end -}}
