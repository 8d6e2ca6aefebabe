{{- define "standin.fullname" -}}
{{- .Values.global.fullnameOverride | default .Values.fullnameOverride | default (printf "%s-dagster" .Release.Name) -}}
{{- end -}}

{{- define "standin.labels" -}}
app.kubernetes.io/name: dagster
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "standin.account" -}}
{{- .Values.global.serviceAccountName | default .Values.serviceAccount.name | default (include "standin.fullname" .) -}}
{{- end -}}

{{- define "standin.image" -}}
{{- if .digest }}{{ printf "%s@%s" .repository .digest }}{{ else }}{{ printf "%s:%v" .repository .tag }}{{ end -}}
{{- end -}}

{{/* As the official chart writes the image of its database: the registry is a value of its own. */}}
{{- define "standin.postgresImage" -}}
{{- .registry -}}/{{- .repository -}}:{{- .tag -}}
{{- end -}}

{{/* Entries of the form {name: ...} as names. */}}
{{- define "standin.names" -}}
{{- $names := list }}{{ range . }}{{ $names = append $names .name }}{{ end }}{{ toJson $names -}}
{{- end -}}

{{/* Volumes and mounts of webserver and daemon. */}}
{{- define "standin.mounts" -}}
- name: dagster-instance
  mountPath: {{ .Values.global.dagsterHome }}/dagster.yaml
  subPath: dagster.yaml
- name: dagster-workspace-yaml
  mountPath: /dagster-workspace/
{{- end -}}

{{- define "standin.volumes" -}}
- name: dagster-instance
  configMap: {name: {{ include "standin.fullname" . }}-instance}
- name: dagster-workspace-yaml
  configMap: {name: {{ include "standin.fullname" . }}-workspace-yaml}
{{- end -}}

{{/* One Deployment's pod: (list root component values command). */}}
{{- define "standin.pod" -}}
{{- $ := index . 0 }}{{ $component := index . 1 }}{{ $values := index . 2 }}{{ $command := index . 3 -}}
metadata:
  labels:
    {{- include "standin.labels" $ | nindent 4 }}
    component: {{ $component }}
    {{- with $values.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/dagster-instance: {{ include (print $.Template.BasePath "/instance.yaml") $ | sha256sum }}
spec:
  serviceAccountName: {{ include "standin.account" $ }}
  {{- with $.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext: {{- toYaml $values.podSecurityContext | nindent 4 }}
  {{- if $values.checkDbReadyInitContainer }}
  initContainers:
    - name: check-db-ready
      image: {{ include "standin.postgresImage" $.Values.postgresql.image | quote }}
      imagePullPolicy: {{ $.Values.postgresql.image.pullPolicy }}
      command: [sh, -c, {{ printf "until pg_isready -h %s -p %v -U %s; do echo waiting for database; sleep 2; done;" $.Values.postgresql.postgresqlHost $.Values.postgresql.service.port $.Values.postgresql.postgresqlUsername | quote }}]
      securityContext: {{- toYaml $values.securityContext | nindent 8 }}
      {{- with $values.initContainerResources }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
  {{- end }}
  containers:
    - name: dagster
      image: {{ include "standin.image" $values.image | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      command: [/bin/bash, -c, {{ $command | quote }}]
      securityContext: {{- toYaml $values.securityContext | nindent 8 }}
      env:
        - name: DAGSTER_HOME
          value: {{ $.Values.global.dagsterHome }}
        - name: DAGSTER_PG_PASSWORD
          valueFrom: {secretKeyRef: {name: {{ $.Values.global.postgresqlSecretName }}, key: postgresql-password}}
        {{- if $values.heartbeatTolerance }}
        - name: DAGSTER_DAEMON_HEARTBEAT_TOLERANCE
          value: {{ $values.heartbeatTolerance | quote }}
        {{- end }}
        {{- with $values.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      envFrom:
        {{- range $values.envConfigMaps }}
        - configMapRef: {{- toYaml . | nindent 12 }}
        {{- end }}
        {{- range $values.envSecrets }}
        - secretRef: {{- toYaml . | nindent 12 }}
        {{- end }}
      {{- if eq $component "dagster-webserver" }}
      ports: [{name: http, containerPort: {{ $values.service.port }}}]
      {{- end }}
      {{- with $values.readinessProbe }}
      readinessProbe: {{- toYaml . | nindent 8 }}
      {{- end }}
      resources: {{- toYaml $values.resources | nindent 8 }}
      volumeMounts:
        {{- include "standin.mounts" $ | nindent 8 }}
        {{- with $values.volumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  volumes:
    {{- include "standin.volumes" $ | nindent 4 }}
    {{- with $values.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
