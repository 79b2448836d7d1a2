{{- /*
`helm upgrade --reuse-values` renders this chart with the values of the release, without those that it
has come to have since: what is not there is as by default. Null takes a default away where that says
something; Helm does not tell the two apart. files/defaults.yaml is values.yaml, which templates cannot
read.
*/ -}}
{{- define "peitho.defaults" -}}
{{- $defaults := omit (.Files.Get "files/defaults.yaml" | fromYaml) "resources" -}}
{{- $_ := set $defaults "settings" dict -}}
{{- range $block, $name := dict "image" "registry" "podMonitor" "interval" "dashboard" "labels" -}}
{{- if kindIs "map" (index $.Values $block) -}}
{{- $_ := set $defaults $block (omit (index $defaults $block) $name) -}}
{{- end -}}
{{- end -}}
{{- include "peitho.filled" (list .Values $defaults) -}}
{{- end -}}

{{- define "peitho.filled" -}}
{{- $values := first . -}}
{{- range $name, $default := last . -}}
{{- $given := index $values $name -}}
{{- if kindIs "invalid" $given -}}
{{- $_ := set $values $name $default -}}
{{- else if and (kindIs "map" $given) (kindIs "map" $default) -}}
{{- include "peitho.filled" (list $given $default) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "peitho.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "peitho.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "peitho.labels" -}}
{{ include "peitho.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "peitho.account" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "peitho.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "peitho.repository" -}}
{{- with .Values.image -}}
{{- if .registry }}{{ .registry }}/{{ end }}{{ .repository -}}
{{- end -}}
{{- end -}}

{{- define "peitho.image" -}}
{{- if .Values.image.digest -}}
{{ include "peitho.repository" . }}@{{ .Values.image.digest }}
{{- else -}}
{{ include "peitho.repository" . }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "peitho.instance" -}}
{{- dig "peitho" "instance" "peitho" .Values.settings -}}
{{- end -}}

{{- define "peitho.tlsSecret" -}}
{{- if .Values.certManager.enabled -}}
{{- default (printf "%s-tls" (include "peitho.fullname" .)) .Values.tls.secretName -}}
{{- else -}}
{{- .Values.tls.secretName -}}
{{- end -}}
{{- end -}}

{{- define "peitho.operationsTlsSecret" -}}
{{- if .Values.certManager.operations -}}
{{- default (printf "%s-operations-tls" (include "peitho.fullname" .)) .Values.operations.tls.secretName -}}
{{- else -}}
{{- .Values.operations.tls.secretName -}}
{{- end -}}
{{- end -}}

{{- /* "https" or "http": the settings may have a certificate without the chart's values. */ -}}
{{- define "peitho.operationsScheme" -}}
{{- $server := default dict .Values.settings.server -}}
{{- $given := dig "cert-file" "" (default dict $server.operationsTls) -}}
{{- if or (include "peitho.operationsTlsSecret" .) $given }}https{{ else }}http{{ end -}}
{{- end -}}

{{- /* Where a listener is: the settings may say so. The Service's own ports stay as they are. */ -}}
{{- define "peitho.port" -}}
{{- $server := default dict (first .).Values.settings.server -}}
{{- regexFind "[0-9]+$" (toString (dig (index . 1) (last .) $server)) -}}
{{- end -}}

{{- define "peitho.issuer" -}}
{{- if not .Values.certManager.issuerRef -}}
{{- fail "certManager.issuerRef is needed where cert-manager makes a certificate" -}}
{{- end -}}
{{- toYaml .Values.certManager.issuerRef -}}
{{- end -}}

{{- /* What Peitho's Pod and that of a check have, and where. */ -}}
{{- define "peitho.volumes" -}}
- name: data
  {{- if .Values.persistence.enabled }}
  persistentVolumeClaim:
    claimName: {{ default (include "peitho.fullname" .) .Values.persistence.existingClaim }}
  {{- else }}
  emptyDir: {}
  {{- end }}
- name: settings
  configMap:
    name: {{ include "peitho.fullname" . }}
{{- if include "peitho.tlsSecret" . }}
- name: tls
  secret:
    secretName: {{ include "peitho.tlsSecret" . }}
{{- end }}
{{- if .Values.tls.clientCa.secretName }}
- name: client-ca
  secret:
    secretName: {{ .Values.tls.clientCa.secretName }}
{{- end }}
{{- if include "peitho.operationsTlsSecret" . }}
- name: operations-tls
  secret:
    secretName: {{ include "peitho.operationsTlsSecret" . }}
{{- end }}
{{- if .Values.operations.tls.clientCa.secretName }}
- name: operations-client-ca
  secret:
    secretName: {{ .Values.operations.tls.clientCa.secretName }}
{{- end }}
{{- if .Values.operations.token.secretName }}
- name: operations-token
  secret:
    secretName: {{ .Values.operations.token.secretName }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "peitho.mounts" -}}
- {name: data, mountPath: {{ dig "dataDir" "/var/lib/peitho" .Values.settings }}}
- {name: settings, mountPath: /etc/peitho, readOnly: true}
{{- if include "peitho.tlsSecret" . }}
- {name: tls, mountPath: /etc/peitho-tls, readOnly: true}
{{- end }}
{{- if .Values.tls.clientCa.secretName }}
- {name: client-ca, mountPath: /etc/peitho-client-ca, readOnly: true}
{{- end }}
{{- if include "peitho.operationsTlsSecret" . }}
- {name: operations-tls, mountPath: /etc/peitho-operations-tls, readOnly: true}
{{- end }}
{{- if .Values.operations.tls.clientCa.secretName }}
- {name: operations-client-ca, mountPath: /etc/peitho-operations-client-ca, readOnly: true}
{{- end }}
{{- if .Values.operations.token.secretName }}
- {name: operations-token, mountPath: /etc/peitho-operations-token, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* The kubelet looks at no certificate, and shows none. */ -}}
{{- define "peitho.probe" -}}
{{- $is_tls := eq (include "peitho.operationsScheme" (first .)) "https" -}}
{path: {{ last . }}, port: operations{{ if $is_tls }}, scheme: HTTPS{{ end }}}
{{- end -}}

{{- /* A container that looks at the set-up, without its arguments and volumes. */ -}}
{{- define "peitho.check" -}}
image: {{ include "peitho.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{- define "peitho.settings" -}}
{{- $service := printf "%s.%s" (include "peitho.fullname" .) .Release.Namespace -}}
{{- $address := printf "%s:8081" (default $service .Values.service.clusterIP) -}}
{{- $peitho := dict "pullerAccessAddress" $address "pullerImage" (include "peitho.image" .) -}}
{{- $derived := dict "k8s" (dict "namespace" (first .Values.chaincode.namespaces)) "peitho" $peitho -}}
{{- $server := dict -}}
{{- if include "peitho.tlsSecret" . -}}
{{- $tls := dict "cert-file" "/etc/peitho-tls/tls.crt" "key-file" "/etc/peitho-tls/tls.key" -}}
{{- if .Values.tls.clientCa.secretName -}}
{{- $_ := set $tls "client-ca-file" (printf "/etc/peitho-client-ca/%s" .Values.tls.clientCa.key) -}}
{{- end -}}
{{- $_ := set $server "tls" $tls -}}
{{- else if and .Values.tls.clientCa.secretName (not (dig "client-ca-file" "" (default dict (default dict .Values.settings.server).tls))) -}}
{{- fail "tls.clientCa needs tls.secretName, or certManager.enabled: whoever reaches the Docker API could call it" -}}
{{- end -}}
{{- with .Values.operations -}}
{{- if include "peitho.operationsTlsSecret" $ -}}
{{- $tls := dict "cert-file" "/etc/peitho-operations-tls/tls.crt" "key-file" "/etc/peitho-operations-tls/tls.key" -}}
{{- if .tls.clientCa.secretName -}}
{{- $_ := set $tls "client-ca-file" (printf "/etc/peitho-operations-client-ca/%s" .tls.clientCa.key) -}}
{{- end -}}
{{- $_ := set $server "operationsTls" $tls -}}
{{- else if .tls.clientCa.secretName -}}
{{- fail "operations.tls.clientCa needs operations.tls.secretName, or certManager.operations" -}}
{{- end -}}
{{- if .token.secretName -}}
{{- $_ := set $server "operationsTokenFile" (printf "/etc/peitho-operations-token/%s" .token.key) -}}
{{- end -}}
{{- end -}}
{{- if $server -}}
{{- $_ := set $derived "server" $server -}}
{{- end -}}
{{- if .Values.openshift -}}
{{- $_ := set $derived "builder" (dict "user" nil) -}}
{{- $_ := set $derived "chaincode" (dict "user" nil) -}}
{{- end -}}
{{- mergeOverwrite $derived (deepCopy .Values.settings) | toYaml -}}
{{- end -}}

{{- /* How Prometheus, which calls the Pod's address, knows Peitho. */ -}}
{{- define "peitho.scrapeTls" -}}
{{- $tls := dict "serverName" (printf "%s.%s.svc" (include "peitho.fullname" .) .Release.Namespace) -}}
{{- with include "peitho.operationsTlsSecret" . -}}
{{- $_ := set $tls "ca" (dict "secret" (dict "name" . "key" "ca.crt")) -}}
{{- end -}}
{{- range $key, $value := .Values.podMonitor.tlsConfig -}}
{{- $_ := set $tls $key $value -}}
{{- end -}}
{{- toYaml $tls -}}
{{- end -}}

{{- /* Of the whole cluster, so it has the namespace in it, unless that is its name already. */ -}}
{{- define "peitho.policyName" -}}
{{- $name := include "peitho.fullname" . -}}
{{- if eq $name .Release.Namespace }}{{ $name }}{{ else }}{{ .Release.Namespace }}-{{ $name }}{{ end -}}
{{- end -}}

{{- /* A list of words as CEL has it. */ -}}
{{- define "peitho.words" -}}
[{{ range $index, $word := . }}{{ if $index }}, {{ end }}'{{ $word }}'{{ end }}]
{{- end -}}

{{- /* The label of Peitho's objects: each tenant's is its own. */ -}}
{{- define "peitho.instances" -}}
{{- $own := include "peitho.instance" . -}}
{{- $all := list $own -}}
{{- range $name, $_ := dig "access" "tenants" dict .Values.settings -}}
{{- if ne $name "default" -}}
{{- $all = append $all (printf "%s.%s" $own $name) -}}
{{- end -}}
{{- end -}}
{{- include "peitho.words" $all -}}
{{- end -}}

{{- /* Images of Pods: the operator's, Peitho's own, and those that it pushes. */ -}}
{{- define "peitho.images" -}}
{{- $all := append .Values.admissionPolicy.images (include "peitho.repository" .) -}}
{{- with dig "peitho" "pullerImage" "" .Values.settings -}}
{{- $all = append $all . -}}
{{- end -}}
{{- if eq (dig "peitho" "imageMode" "delivery" .Values.settings) "registry" -}}
{{- $registry := dig "docker" "registry" dict .Values.settings -}}
{{- $parts := list (index $registry "server-address") (default "" (index $registry "project")) "*" -}}
{{- $all = append $all (compact $parts | join "/") -}}
{{- end -}}
{{- include "peitho.words" $all -}}
{{- end -}}
