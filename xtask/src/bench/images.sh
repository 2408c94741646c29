# Makes the images of the bench, and a registry that has them. $1: the bench's place. Everything is in memory.
set -eu
place=$1
work=/run/images
mkdir -p $work/registry $work/parts
cd $work
# 10,000 files, 287 MB, half of each is what no compressor makes smaller.
for part in 1 2 3 4 5 6; do
    mkdir parts/$part
    head -c 24m /dev/urandom > noise
    yes "$part is what a text says again and again, as most files do" | head -c 24m > text
    (cd parts/$part && split -a 4 -b 28k --additional-suffix=n ../../noise && split -a 4 -b 28k --additional-suffix=t ../../text)
done
rm noise text
# Of one block each: umoci does not end its archives, and tar(1) takes a last block that is not full for damage.
for directory in $(seq 100); do
    mkdir -p small/$directory
    head -c 512000 /dev/urandom | (cd small/$directory && split -a 3 -b 512)
done
umoci init --layout layout
umoci new --image layout:small
umoci insert --image layout:small small /
umoci new --image layout:one
umoci insert --image layout:one parts /
umoci new --image layout:six
for part in 1 2 3 4 5 6; do
    umoci insert --image layout:six parts/$part /$part
done
umoci new --image layout:start1
umoci insert --image layout:start1 "$place/root" /
umoci tag --image layout:start1 start20
for layer in $(seq 19); do
    echo "$layer" > file
    umoci insert --image layout:start20 file /etc/layer-"$layer"
done
cat > registry.yml <<END
version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: $work/registry } }
http: { addr: "127.0.0.1:5000" }
END
docker-registry serve registry.yml > log 2>&1 &
for image in one six small start1 start20; do
    skopeo copy --quiet --insecure-policy --dest-tls-verify=false --retry-times 10 \
        "oci:layout:$image" "docker://127.0.0.1:5000/$image:1"
done
kill $!
rm -r parts small layout
