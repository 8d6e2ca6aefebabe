{{- define "openthoughts.labels" -}}
app.kubernetes.io/name: openthoughts
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "openthoughts.image" -}}
{{- if .digest }}{{ printf "%s@%s" .repository .digest }}{{ else }}{{ printf "%s:%s" .repository .tag }}{{ end -}}
{{- end -}}

{{/* The name of a ServiceAccount, ours or one that is there already: (list root who). */}}
{{- define "openthoughts.account" -}}
{{- $account := get (index . 0).Values.serviceAccounts (index . 1) -}}
{{- $account.name | default (printf "openthoughts-%s" (index . 1)) -}}
{{- end -}}

{{/* The ConfigMap of Dagster's settings, which the official chart names. */}}
{{- define "openthoughts.instance" -}}
{{- printf "%s-instance" (.Values.dagster.global.fullnameOverride | default .Values.dagster.fullnameOverride) -}}
{{- end -}}

{{/* The restricted standard, for our own Deployments: one of the pod and one of each container. */}}
{{- define "openthoughts.podSecurity" -}}
{{- toYaml .Values.security.pod -}}
{{- end -}}

{{- define "openthoughts.containerSecurity" -}}
{{- toYaml .Values.security.container -}}
{{- end -}}

{{/* Secrets whose keys become variables of the code location, runs and steps. */}}
{{- define "openthoughts.secrets" -}}
{{- $names := list -}}
{{- range list .Values.secrets.storage .Values.secrets.keys -}}
{{- if . }}{{ $names = append $names . }}{{ end -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

{{/* Whether the recipe is in the ConfigMap, or comes with the package. */}}
{{- define "openthoughts.ownRecipe" -}}
{{- if or .Values.recipe.files .Values.recipe.existing }}true{{ end -}}
{{- end -}}

{{- define "openthoughts.modelClaim" -}}
{{- if .Values.modelCache.existingClaim -}}
{{- .Values.modelCache.existingClaim -}}
{{- else if .Values.modelCache.enabled -}}
openthoughts-models
{{- end -}}
{{- end -}}

{{/* Files and folders of the code location, and through its container context of runs and steps. */}}
{{- define "openthoughts.volumes" -}}
- {name: cluster, configMap: {name: openthoughts-cluster}}
{{- if include "openthoughts.ownRecipe" . }}
- {name: recipe, configMap: {name: openthoughts-recipe}}
{{- end }}
{{- include "openthoughts.trustedVolume" . }}
- {name: scratch, emptyDir: {sizeLimit: 2Gi}}
- {name: tmp, emptyDir: {sizeLimit: 1Gi}}
{{- end -}}

{{- define "openthoughts.volumeMounts" -}}
- {name: cluster, mountPath: /etc/openthoughts/cluster.yaml, subPath: cluster.yaml, readOnly: true}
{{- if include "openthoughts.ownRecipe" . }}
- {name: recipe, mountPath: /etc/openthoughts/recipe, readOnly: true}
{{- end }}
{{- include "openthoughts.trustedMount" . }}
- {name: scratch, mountPath: /scratch}
- {name: tmp, mountPath: /tmp}
{{- end -}}

{{/* Authorities that pods trust, e.g. a private one; each begins with a line break. */}}
{{- define "openthoughts.trustedVolume" -}}
{{- with .Values.trustedAuthorities.configMap }}
- {name: authorities, configMap: {name: {{ . }}}}
{{- end }}
{{- end -}}

{{- define "openthoughts.trustedMount" -}}
{{- if .Values.trustedAuthorities.configMap }}
- {name: authorities, mountPath: /etc/openthoughts/authorities, readOnly: true}
{{- end }}
{{- end -}}

{{/* The variables by which Python, curl and the AWS libraries find those authorities, as a mapping. */}}
{{- define "openthoughts.trustedVariables" -}}
{{- if .Values.trustedAuthorities.configMap -}}
{{- $file := printf "/etc/openthoughts/authorities/%s" .Values.trustedAuthorities.key -}}
{{- range list "SSL_CERT_FILE" "REQUESTS_CA_BUNDLE" "CURL_CA_BUNDLE" "AWS_CA_BUNDLE" }}
{{ . }}: {{ $file }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What dagster-k8s gives every run and step of this code location, over the run launcher's own settings. */}}
{{- define "openthoughts.containerContext" -}}
k8s:
  namespace: {{ .Release.Namespace }}
  service_account_name: {{ include "openthoughts.account" (list . "run") }}
  image_pull_policy: {{ .Values.images.pullPolicy }}
  {{- with .Values.images.pullSecrets }}
  image_pull_secrets: {{ toJson . }}
  {{- end }}
  env_config_maps: [openthoughts-environment]
  env_secrets: {{ include "openthoughts.secrets" . }}
  {{- with .Values.runs.extraEnv }}
  env: {{ toJson . }}
  {{- end }}
  {{- with .Values.runs.labels }}
  labels: {{ toJson . }}
  {{- end }}
  resources: {{ toJson .Values.runs.resources }}
  volumes:
    {{- include "openthoughts.volumes" . | nindent 4 }}
    {{- with .Values.runs.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volume_mounts:
    {{- include "openthoughts.volumeMounts" . | nindent 4 }}
    {{- with .Values.runs.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- $config := dict }}
  {{- with .Values.runs.annotations }}
  {{- $_ := set $config "pod_template_spec_metadata" (dict "annotations" .) }}
  {{- end }}
  {{- $pod := dict }}
  {{- range $key := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" }}
  {{- with get $.Values.runs $key }}
  {{- $_ := set $pod $key . }}
  {{- end }}
  {{- end }}
  {{- with $pod }}
  {{- $_ := set $config "pod_spec_config" . }}
  {{- end }}
  {{- with $config }}
  run_k8s_config: {{ toJson . }}
  {{- end }}
{{- end -}}

{{/* Where the login proxy finds the webserver: the official chart names it after the release. */}}
{{- define "openthoughts.webserver" -}}
{{- $webserver := .Values.dagster.dagsterWebserver -}}
{{- printf "http://%s-%s:%v" .Release.Name $webserver.nameOverride $webserver.service.port -}}
{{- end -}}

{{/* A range of addresses; of everywhere without the exceptions, which Kubernetes wants to lie within the range. */}}
{{- define "openthoughts.ipBlock" -}}
{{- $cidr := index . 0 -}}
{{- $block := dict "cidr" $cidr -}}
{{- if and (eq $cidr "0.0.0.0/0") (index . 1) }}{{ $_ := set $block "except" (index . 1) }}{{ end -}}
{{- toJson $block -}}
{{- end -}}
