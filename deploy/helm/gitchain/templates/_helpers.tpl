{{- define "gitchain.name" -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "gitchain.selector" -}}
app.kubernetes.io/name: gitchain
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "gitchain.labels" -}}
{{ include "gitchain.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "gitchain.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{- /* Seconds between two audits of what runs; 0 where there are none. */ -}}
{{- define "gitchain.audit" -}}
{{ dig "times" "audit" 0 .Values.settings | int }}
{{- end -}}

{{- define "gitchain.drain" -}}
{{ dig "times" "drain" 5 .Values.settings | int }}
{{- end -}}
