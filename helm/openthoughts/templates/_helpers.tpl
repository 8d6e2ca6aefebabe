{{- define "openthoughts.labels" -}}
app.kubernetes.io/name: openthoughts
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "openthoughts.image" -}}
{{- printf "%s:%s" .repository .tag -}}
{{- end -}}

{{/* The restricted standard, for our own Deployments: one of the pod and one of each container. */}}
{{- define "openthoughts.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "openthoughts.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
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
- {name: scratch, emptyDir: {sizeLimit: 2Gi}}
- {name: tmp, emptyDir: {sizeLimit: 1Gi}}
{{- end -}}

{{- define "openthoughts.volumeMounts" -}}
- {name: cluster, mountPath: /etc/openthoughts/cluster.yaml, subPath: cluster.yaml, readOnly: true}
{{- if include "openthoughts.ownRecipe" . }}
- {name: recipe, mountPath: /etc/openthoughts/recipe, readOnly: true}
{{- end }}
- {name: scratch, mountPath: /scratch}
- {name: tmp, mountPath: /tmp}
{{- end -}}

{{/* What dagster-k8s gives every run and step of this code location, over the run launcher's own settings. */}}
{{- define "openthoughts.containerContext" -}}
k8s:
  namespace: {{ .Release.Namespace }}
  service_account_name: openthoughts-run
  image_pull_policy: {{ .Values.images.pullPolicy }}
  {{- with .Values.images.pullSecrets }}
  image_pull_secrets: {{ toJson . }}
  {{- end }}
  env_config_maps: [openthoughts-environment]
  env_secrets: {{ include "openthoughts.secrets" . }}
  {{- with .Values.runs.labels }}
  labels: {{ toJson . }}
  {{- end }}
  resources: {{ toJson .Values.runs.resources }}
  volumes:
    {{- include "openthoughts.volumes" . | nindent 4 }}
  volume_mounts:
    {{- include "openthoughts.volumeMounts" . | nindent 4 }}
  {{- with .Values.runs.annotations }}
  run_k8s_config:
    pod_template_spec_metadata: {annotations: {{ toJson . }}}
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
