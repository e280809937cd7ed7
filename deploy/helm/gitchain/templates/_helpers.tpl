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

{{- /* The claim that outlives the pods, for the deployment log; empty where there is no such log. */ -}}
{{- define "gitchain.deployments" -}}
{{- with .Values.settings.deployments -}}
{{- $claim := $.Values.deployments.existingClaim | default (ternary (print (include "gitchain.name" $) "-deployments") "" (ne $.Values.deployments.size "")) -}}
{{- $_ := required "deployments.existingClaim or deployments.size: the deployment log needs a volume that outlives the pods" $claim -}}
{{- if not (regexMatch "^/deployments/[a-z0-9][-_.a-z0-9]*$" (.repository | default "")) -}}
{{- fail "settings.deployments.repository: a directory in /deployments, such as /deployments/log" -}}
{{- end -}}
{{- $claim -}}
{{- end -}}
{{- end -}}

{{- define "gitchain.drain" -}}
{{ dig "times" "drain" 5 .Values.settings | int }}
{{- end -}}

{{- /* How both webhooks are asked, and about which namespaces: of (root, path, failurePolicy). */ -}}
{{- define "gitchain.webhook" -}}
{{- $root := index . 0 -}}
admissionReviewVersions: [v1]
clientConfig:
  service: {name: {{ include "gitchain.name" $root }}, namespace: {{ $root.Release.Namespace }}, path: {{ index . 1 }}, port: 443}
  {{- if not $root.Values.tls.certManager.enabled }}
  caBundle: {{ required "webhook.caBundle: the CA of the certificate, or use tls.certManager" $root.Values.webhook.caBundle }}
  {{- end }}
failurePolicy: {{ index . 2 }}
timeoutSeconds: {{ $root.Values.webhook.timeoutSeconds }}
matchPolicy: Equivalent
namespaceSelector:
  matchExpressions:
    - key: kubernetes.io/metadata.name
      operator: NotIn
      values: {{- append $root.Values.webhook.excludedNamespaces $root.Release.Namespace | uniq | toYaml | nindent 8 }}
    {{- with $root.Values.webhook.onlyNamespaces }}
    - key: kubernetes.io/metadata.name
      operator: In
      values: {{- toYaml . | nindent 8 }}
    {{- end }}
{{- end -}}

{{- define "gitchain.injected" -}}
{{- if .Values.tls.certManager.enabled -}}
annotations:
  cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/{{ include "gitchain.name" . }}
{{- end -}}
{{- end -}}
