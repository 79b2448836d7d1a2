package double

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
)

// Package is a chaincode package as a peer keeps it.
type Package struct {
	ID       string   `json:"id"`
	Language Language `json:"language"`
	Path     string   `json:"path"` // Go's import path
	Code     []byte   `json:"code"` // the gzip'd tar that goes to the build container
	Runnable bool     `json:"runnable"`
}

const (
	owner      = 500
	fileMode   = 0o100644
	folderMode = 0o40755
)

// makePackage does what `peer lifecycle chaincode package` (1.4: `peer chaincode install`) does.
func (r Release) makePackage(folder string, name string, language Language) (Package, error) {
	made := Package{Language: language}
	if language == Golang {
		modulePath, err := modulePath(folder)
		if err != nil {
			return Package{}, err
		}
		made.Path = modulePath
	}
	code, err := r.archive(folder, made)
	if err != nil {
		return Package{}, err
	}
	made.Code = code
	if r.Legacy {
		label, version, found := strings.Cut(name, "_")
		if !found {
			version = "1"
		}
		made.ID = label + ":" + version
		return made, nil
	}
	sum := sha256.Sum256(append([]byte(name+"\n"), code...))
	made.ID = name + ":" + hex.EncodeToString(sum[:])
	return made, nil
}

// modulePath is the module that the folder's go.mod names.
func modulePath(folder string) (string, error) {
	data, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			return strings.TrimSpace(name), nil
		}
	}
	return "", fmt.Errorf("no module in %s/go.mod", folder)
}

// archive is the gzip'd tar of a folder's files below src.
func (r Release) archive(folder string, p Package) ([]byte, error) {
	files, err := sources(folder, p.Language)
	if err != nil {
		return nil, err
	}
	prefix := "src"
	if r.Legacy && p.Language == Golang {
		prefix = path.Join("src", p.Path)
		delete(files, "go.mod")
		delete(files, "go.sum")
	}
	var written bytes.Buffer
	zipped := gzip.NewWriter(&written)
	archive := tar.NewWriter(zipped)
	if p.Language == Golang && !r.Legacy {
		if err := writeFolders(archive, files, prefix); err != nil {
			return nil, err
		}
	}
	for _, name := range sorted(files) {
		if err := r.writeFile(archive, path.Join(prefix, name), files[name]); err != nil {
			return nil, err
		}
	}
	err = errors.Join(archive.Close(), zipped.Close())
	return written.Bytes(), err
}

// sources are a folder's files by their slashed names, without what Fabric leaves out.
func sources(folder string, language Language) (map[string]string, error) {
	left := map[Language][]string{
		Node: {"node_modules"},
		Java: {"target", "build", "out"},
	}[language]
	files := map[string]string{}
	err := filepath.WalkDir(folder, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || file == folder {
			return err
		}
		if entry.IsDir() {
			for _, name := range append(left, ".git") {
				if entry.Name() == name {
					return filepath.SkipDir
				}
			}
			return nil
		}
		relative, err := filepath.Rel(folder, file)
		files[filepath.ToSlash(relative)] = file
		return err
	})
	return files, err
}

func writeFolders(archive *tar.Writer, files map[string]string, prefix string) error {
	folders := map[string]string{}
	for name := range files {
		for dir := path.Dir(path.Join(prefix, name)); dir != "."; dir = path.Dir(dir) {
			folders[dir] = ""
		}
	}
	for _, name := range sorted(folders) {
		header := &tar.Header{
			Typeflag: tar.TypeDir, Name: name + "/", Mode: folderMode, Uid: owner, Gid: owner,
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
	}
	return nil
}

func (r Release) writeFile(archive *tar.Writer, name string, file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	header := &tar.Header{
		Name: name, Size: int64(len(content)), Mode: fileMode, Uid: owner, Gid: owner,
	}
	if r.Legacy {
		header.Uname, header.Gname = "root", "root" // 1.4 leaves the names of the files' owner
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = archive.Write(content)
	return err
}

// writeBytes adds an entry the way peers add the Dockerfile and the TLS files: mode only, no owner.
func writeBytes(archive *tar.Writer, name string, content []byte) error {
	header := &tar.Header{Name: name, Size: int64(len(content)), Mode: fileMode}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}

func sorted(names map[string]string) []string {
	keys := make([]string, 0, len(names))
	for name := range names {
		keys = append(keys, name)
	}
	sort.Strings(keys)
	return keys
}

// unsized hides the length of a reader, so that HTTP clients send it in chunks.
type unsized struct{ io.Reader }

// store keeps installed packages in a folder, as a peer's disk does; nothing if it has no folder.
type store struct{ folder string }

func (s store) path(packageID string) string {
	sum := sha256.Sum256([]byte(packageID))
	return filepath.Join(s.folder, "package-"+hex.EncodeToString(sum[:8])+".json")
}

func (s store) save(p Package) error {
	if s.folder == "" {
		return nil
	}
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return os.WriteFile(s.path(p.ID), data, 0o600)
}

func (s store) remove(packageID string) {
	if s.folder != "" {
		_ = os.Remove(s.path(packageID))
	}
}

func (s store) load() ([]Package, error) {
	if s.folder == "" {
		return nil, nil
	}
	files, err := filepath.Glob(filepath.Join(s.folder, "package-*.json"))
	if err != nil {
		return nil, err
	}
	found := make([]Package, len(files))
	for index, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(data, &found[index]); err != nil {
			return nil, err
		}
	}
	return found, nil
}
