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

{{- /* Whether the pods ask the API server for anything: then they get a token. */ -}}
{{- define "gitchain.token" -}}
{{- if or .Values.webhook.scale (ne (include "gitchain.audit" .) "0") (hasKey .Values.settings "reporting") }}true{{ end -}}
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

{{- /* The claim for GITCHAIN_HOME; empty where each pod starts with an empty one. */ -}}
{{- define "gitchain.state" -}}
{{- with .Values.state -}}
{{- .existingClaim | default (ternary (print (include "gitchain.name" $) "-state") "" (ne .size "")) -}}
{{- end -}}
{{- end -}}

{{- /* A claim that the chart makes, which all replicas write to: of (root, name, values). */ -}}
{{- define "gitchain.claim" -}}
{{- $root := index . 0 -}}
{{- $given := index . 2 -}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ index . 1 }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- include "gitchain.labels" $root | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep  # it outlives the release
spec:
  accessModes: [ReadWriteMany]
  {{- with $given.storageClassName }}
  storageClassName: {{ . }}
  {{- end }}
  resources: {requests: {storage: {{ $given.size }}}}
{{- end -}}

{{- /* The volumes with what a login at sources of evidence takes, by name: each lies in /etc/gitchain-sources. */ -}}
{{- define "gitchain.mounted" -}}
{{- with .Values.evidence -}}
{{- if .gitCredentials }}
git: {secret: {secretName: {{ .gitCredentials }}, defaultMode: 0440}}
{{- end }}
{{- if .registryCredentials }}
registry:
  secret:
    secretName: {{ .registryCredentials }}
    defaultMode: 0440
    items: [{key: .dockerconfigjson, path: config.json}]
{{- end }}
{{- if .caConfigMap }}
ca: {configMap: {name: {{ .caConfigMap }}}}
{{- end }}
{{- end -}}
{{- end -}}

{{- /* The environment that tells git and the clients of registries of them. */ -}}
{{- define "gitchain.sources" -}}
{{- with .Values.evidence -}}
{{- if .gitCredentials }}
- {name: GIT_CONFIG_COUNT, value: "1"}
- {name: GIT_CONFIG_KEY_0, value: credential.helper}
- {name: GIT_CONFIG_VALUE_0, value: store --file=/etc/gitchain-sources/git/credentials}
{{- end }}
{{- if .registryCredentials }}
- {name: DOCKER_CONFIG, value: /etc/gitchain-sources/registry}
{{- end }}
{{- if .caConfigMap }}
- {name: SSL_CERT_FILE, value: /etc/gitchain-sources/ca/ca.crt}
- {name: GIT_SSL_CAINFO, value: /etc/gitchain-sources/ca/ca.crt}
- {name: REQUESTS_CA_BUNDLE, value: /etc/gitchain-sources/ca/ca.crt}
{{- end }}
{{- if .proxy }}
- {name: HTTPS_PROXY, value: {{ .proxy | quote }}}
- {name: NO_PROXY, value: {{ .noProxy | quote }}}
{{- end }}
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
    {{- if $root.Values.webhook.optIn }}
    - {key: gitchain.dev/admission, operator: In, values: [enabled]}
    {{- end }}
{{- end -}}

{{- define "gitchain.injected" -}}
{{- if .Values.tls.certManager.enabled -}}
annotations:
  cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/{{ include "gitchain.name" . }}
{{- end -}}
{{- end -}}

{{- /* The ConfigMap with the CA of the API server's client certificate; empty where none is demanded. */ -}}
{{- define "gitchain.clientCA" -}}
{{- $name := .Values.tls.clientCA.configMap -}}
{{- if hasKey .Values.settings "deployments" -}}
{{- $_ := required "tls.clientCA.configMap: deployments are signed only for an API server that is authenticated (docs/admission.md)" $name -}}
{{- end -}}
{{- if and .Values.tls.clientCA.names (not $name) -}}
{{- fail "tls.clientCA.names: names without tls.clientCA.configMap prove nothing" -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- /* The rule that lets the pods reach the collector of traces, as a list; empty without traces. */ -}}
{{- define "gitchain.tracesEgress" -}}
{{- with .Values.traces -}}
{{- if .enabled -}}
{{- $url := urlParse .endpoint -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
- ports: [{port: {{ $port }}}]
  {{- with .to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}
{{- end -}}
