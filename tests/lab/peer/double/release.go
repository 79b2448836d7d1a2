package double

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// Release is what differs from one version of Fabric to the next.
type Release struct {
	Version string
	Legacy  bool // 1.4: builds at launch, a new client object for each operation
	Moby    bool // the client library is moby's: probes Go's version before a Go build
}

// Language is a chaincode platform, as Fabric spells it.
type Language string

// The three platforms that peers build.
const (
	Golang Language = "GOLANG"
	Node   Language = "NODE"
	Java   Language = "JAVA"
)

const (
	legacyBase = "0.4.22"
	label      = "org.hyperledger.fabric"
	logFormat  = "%{color}%{time:2006-01-02 15:04:05.000 MST} [%{module}] %{shortfunc} -> " +
		"%{level:.4s} %{id:03x}%{color:reset} %{message}"

	goFlags = `-ldflags "-linkmode external -extldflags '-static'"`
	// goBuild is the script of 2.x and 3.x; %[1]s are flags, %[2]s the import path, %[3]s what comes first.
	goBuild = `
set -e
%[3]sif [ -f "/chaincode/input/src/go.mod" ] && [ -d "/chaincode/input/src/vendor" ]; then
    cd /chaincode/input/src
    GO111MODULE=on go build -v -mod=vendor %[1]s -o /chaincode/output/chaincode %[2]s
elif [ -f "/chaincode/input/src/go.mod" ]; then
    cd /chaincode/input/src
    GO111MODULE=on go build -v -mod=readonly %[1]s -o /chaincode/output/chaincode %[2]s
elif [ -f "/chaincode/input/src/%[2]s/go.mod" ] && [ -d "/chaincode/input/src/%[2]s/vendor" ]; then
    cd /chaincode/input/src/%[2]s
    GO111MODULE=on go build -v -mod=vendor %[1]s -o /chaincode/output/chaincode .
elif [ -f "/chaincode/input/src/%[2]s/go.mod" ]; then
    cd /chaincode/input/src/%[2]s
    GO111MODULE=on go build -v -mod=readonly %[1]s -o /chaincode/output/chaincode .
else
    GO111MODULE=off GOPATH=/chaincode/input:$GOPATH go build -v %[1]s -o /chaincode/output/chaincode %[2]s
fi
echo Done!
`
	goBuildLegacy = `GOPATH=/chaincode/input:$GOPATH go build  %s -o /chaincode/output/chaincode %s`
	nodeBuild     = `
set -e
if [ -x /chaincode/build.sh ]; then
	/chaincode/build.sh
else
	cp -R /chaincode/input/src/. /chaincode/output && cd /chaincode/output && npm install --production
fi
`
	nodeBuildLegacy = "cp -R /chaincode/input/src/. /chaincode/output && " +
		"cd /chaincode/output && npm install --production"
	nodeStart = `
set -e
if [ -x /chaincode/start.sh ]; then
	/chaincode/start.sh --peer.address %[1]s
else
	cd /usr/local/src
	npm start -- --peer.address %[1]s
fi
`
)

var (
	badCharacter = regexp.MustCompile("[^a-zA-Z0-9-_.]")
	goVersion    = regexp.MustCompile(`go\s+version\s+go([\d.]+)\s+(\w+)/(\w+)`)
)

// ReleaseOf reads a version such as "2.5.16".
func ReleaseOf(version string) (Release, error) {
	parts := strings.Split(version, ".")
	if len(parts) != 3 {
		return Release{}, fmt.Errorf("version %q has not the form 2.5.16", version)
	}
	var numbers [3]int
	for index, part := range parts {
		number, err := strconv.Atoi(part)
		if err != nil {
			return Release{}, fmt.Errorf("version %q has not the form 2.5.16", version)
		}
		numbers[index] = number
	}
	major, minor, patch := numbers[0], numbers[1], numbers[2]
	return Release{
		Version: version,
		Legacy:  major == 1,
		Moby: major == 2 && minor == 5 && patch >= 15 || major == 3 && minor == 1 && patch >= 4 ||
			major == 3 && minor > 1 || major > 3,
	}, nil
}

// line is the release line, such as "2.5", that tags of images carry.
func (r Release) line() string { return r.Version[:strings.LastIndex(r.Version, ".")] }

// images names the builder image and the runtime image of a platform.
func (r Release) images(language Language) (builder string, runtimeImage string) {
	ccenv := "hyperledger/fabric-ccenv:" + r.line()
	switch {
	case language == Golang && r.Legacy:
		return ccenv, "hyperledger/fabric-baseos:" + runtime.GOARCH + "-" + legacyBase
	case language == Golang:
		return ccenv, "hyperledger/fabric-baseos:" + r.line()
	case language == Node && r.Legacy:
		return ccenv, "hyperledger/fabric-baseimage:" + runtime.GOARCH + "-" + legacyBase
	}
	line := r.line()
	if strings.HasPrefix(line, "3.") {
		line = "2.5" // the sample configuration of 3.x still names these
	}
	image := "hyperledger/fabric-" + strings.ToLower(string(language)) + "env:" + line
	return image, image
}

// script is what the build container runs, with /bin/sh -c.
func (r Release) script(language Language, path string) string {
	switch {
	case language == Golang && r.Legacy:
		return fmt.Sprintf(goBuildLegacy, goFlags, path)
	case language == Golang:
		before := ""
		if r.Moby {
			before = "\n" // 2.5.15 and 3.1.4 can put a newer Go here
		}
		return fmt.Sprintf(goBuild, goFlags, path, before)
	case language == Node && r.Legacy:
		return nodeBuildLegacy
	case language == Node:
		return nodeBuild
	default:
		return "./build.sh"
	}
}

// dockerfile is the Dockerfile of a chaincode image.
func (r Release) dockerfile(p Package, runtimeImage string) string {
	folder := map[Language]string{
		Golang: "/usr/local/bin",
		Node:   "/usr/local/src",
		Java:   "/root/chaincode-java/chaincode",
	}[p.Language]
	labels := []string{
		fmt.Sprintf(`%s.chaincode.type="%s"`, label, p.Language),
		fmt.Sprintf(`%s.version="%s"`, label, r.Version),
	}
	if r.Legacy {
		name, version, _ := strings.Cut(p.ID, ":")
		labels = append([]string{
			fmt.Sprintf(`%s.chaincode.id.name="%s"`, label, name),
			fmt.Sprintf(`%s.chaincode.id.version="%s"`, label, version),
		}, labels...)
		labels = append(labels, fmt.Sprintf(`%s.base.version="%s"`, label, legacyBase))
	}
	return strings.Join([]string{
		"FROM " + runtimeImage,
		"ADD binpackage.tar " + folder,
		"LABEL " + strings.Join(labels, " \\\n      "),
		"ENV CORE_CHAINCODE_BUILDLEVEL=" + r.Version,
	}, "\n")
}

// command is what the chaincode container runs.
func (r Release) command(language Language, address string) []string {
	switch {
	case language == Golang:
		return []string{"chaincode", "-peer.address=" + address}
	case language == Java:
		return []string{"/root/chaincode-java/start", "--peerAddress", address}
	case r.Legacy:
		start := "cd /usr/local/src; npm start -- --peer.address " + address
		return []string{"/bin/sh", "-c", start}
	default:
		return []string{"/bin/sh", "-c", fmt.Sprintf(nodeStart, address)}
	}
}

const tlsFolder = "/etc/hyperledger/fabric/"

// environment is the Env of a chaincode container.
func (r Release) environment(packageID string, mspID string, secure bool) []string {
	shim := "warn"
	if r.Legacy {
		shim = "warning"
	}
	name := "CORE_CHAINCODE_ID_NAME=" + packageID
	logging := []string{
		"CORE_CHAINCODE_LOGGING_LEVEL=info",
		"CORE_CHAINCODE_LOGGING_SHIM=" + shim,
		"CORE_CHAINCODE_LOGGING_FORMAT=" + logFormat,
	}
	if r.Legacy {
		return append(append(logging, name), tlsEnvironment(secure, nil)...)
	}
	files := []string{
		"CORE_TLS_CLIENT_KEY_FILE=" + tlsFolder + "client_pem.key",
		"CORE_TLS_CLIENT_CERT_FILE=" + tlsFolder + "client_pem.crt",
	}
	common := append([]string{name}, logging...)
	return append(append(common, tlsEnvironment(secure, files)...), "CORE_PEER_LOCALMSPID="+mspID)
}

func tlsEnvironment(secure bool, files []string) []string {
	if !secure {
		return []string{"CORE_PEER_TLS_ENABLED=false"}
	}
	paths := []string{
		"CORE_PEER_TLS_ENABLED=true",
		"CORE_TLS_CLIENT_KEY_PATH=" + tlsFolder + "client.key",
		"CORE_TLS_CLIENT_CERT_PATH=" + tlsFolder + "client.crt",
	}
	return append(append(paths, files...), "CORE_PEER_TLS_ROOTCERT_FILE="+tlsFolder+"peer.crt")
}

// host is the HostConfig that the sample configuration gives, in Docker's JSON.
func (r Release) host(networkMode string) json.RawMessage {
	config := map[string]any{
		"NetworkMode": networkMode,
		"Memory":      2147483648,
		"LogConfig": map[string]any{
			"Type":   "json-file",
			"Config": map[string]string{"max-size": "50m", "max-file": "5"},
		},
	}
	if !r.Legacy {
		config["MemorySwappiness"] = 0
		config["OomKillDisable"] = false
	}
	if r.Moby {
		config["Dns"] = []string{}
	}
	encoded, _ := json.Marshal(config)
	return encoded
}

// Names are the two names of a chaincode's container and image.
type Names struct {
	Container string `json:"container"`
	Image     string `json:"image"`
}

func (r Release) names(settings Settings, packageID string) Names {
	full := packageID
	for _, part := range []string{settings.PeerID, settings.NetworkID} {
		if part != "" {
			full = part + "-" + full
		}
	}
	full = strings.ReplaceAll(full, ":", "-")
	sum := sha256.Sum256([]byte(full))
	clean := badCharacter.ReplaceAllString(full, "-")
	return Names{
		Container: clean,
		Image:     strings.ToLower(clean + "-" + hex.EncodeToString(sum[:])),
	}
}
