{{- /* What values.schema.json cannot say of the settings: how their fields fit together, and into a pod. One line each. */ -}}
{{- define "gitchain.checked" -}}
{{- $settings := .Values.settings -}}
{{- $times := merge (deepCopy ($settings.times | default dict)) (dict "refresh" 10 "fresh" 60 "answer" 8) -}}
{{- range $number, $rule := $settings.rules -}}
{{- if not (hasKey $settings.layouts $rule.layout) -}}
{{- fail (printf "settings.rules[%d].layout: %s is not in settings.layouts" $number ($rule.layout | quote)) -}}
{{- end -}}
{{- end -}}
{{- if lt (int $times.fresh) (int $times.refresh) -}}
{{- fail (printf "settings.times.fresh: at least %d, as settings.times.refresh says" (int $times.refresh)) -}}
{{- end -}}
{{- if ge (int $times.answer) (int .Values.webhook.timeoutSeconds) -}}
{{- fail (printf "webhook.timeoutSeconds: above %d, as settings.times.answer says" (int $times.answer)) -}}
{{- end -}}
{{- range $name, $layout := $settings.layouts -}}
{{- $where := print "settings.layouts." $name -}}
{{- if eq $layout.trust "local" -}}
{{- fail (print $where ".trust: a file of policy, or public: a pod has no instance of its own") -}}
{{- end -}}
{{- include "gitchain.handed" (list $ (print $where ".layout") $layout.layout) -}}
{{- if and (contains "." $layout.trust) (not (contains "://" $layout.trust)) -}}
{{- include "gitchain.handed" (list $ (print $where ".trust") $layout.trust) -}}
{{- end -}}
{{- range (concat (compact (list $layout.repository)) ($layout.evidence | default list)) -}}
{{- if not (contains "://" .) -}}
{{- include "gitchain.mount" (list $ $where .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* A file among those of `policy`, where it has no whole path: of (root, field, name). */ -}}
{{- define "gitchain.handed" -}}
{{- $values := (index . 0).Values -}}{{- $field := index . 1 -}}{{- $name := index . 2 -}}
{{- if hasPrefix "/etc/gitchain-teams/" $name -}}
{{- if not (has (dir $name | base) $values.policy.teams) -}}
{{- fail (printf "policy.teams: %s, for %s, which %s names" (dir $name | base | quote) ($name | quote) $field) -}}
{{- end -}}
{{- else if not (isAbs $name) -}}
{{- if contains "/" $name -}}
{{- fail (printf "%s: a name without a folder, as policy's files lie in one: %s" $field ($name | quote)) -}}
{{- else if not (or $values.policy.configMaps $values.policy.secrets) -}}
{{- fail (printf "policy.configMaps: one that holds %s, which %s names" ($name | quote) $field) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* A directory with evidence: of (root, layout, path). */ -}}
{{- define "gitchain.mount" -}}
{{- $values := (index . 0).Values -}}{{- $where := index . 1 -}}{{- $path := index . 2 -}}
{{- if not (isAbs $path) -}}
{{- fail (printf "%s: a whole path for %s, such as /evidence: there is nothing to write beside the settings" $where ($path | quote)) -}}
{{- else if and (hasPrefix "/evidence/" (print $path "/")) (not $values.evidence.volume) -}}
{{- fail (printf "evidence.volume: the volume for %s, which %s names" ($path | quote) $where) -}}
{{- end -}}
{{- end -}}
