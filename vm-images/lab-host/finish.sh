#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The last step of mmdebstrap, in its namespace: ROOT is the installed system, OUT receives root.ext4's place in disk.img
# (see harness/host/disk_image.py), boot.img, core.img and host_key.pub. OUT has id.pub and ivrs.aml already.
set -eu
root=$1 out=$2 uuid=$3 blocks=$4

here() { chroot "$root" "$@"; }

# The user and who may log in.
here useradd --create-home --shell /bin/bash dev
for home in root home/dev; do
    mkdir -p -m 700 "$root/$home/.ssh"
    cp "$out/id.pub" "$root/$home/.ssh/authorized_keys"
done
here chown -R dev: /home/dev
chmod 440 "$root/etc/sudoers.d/dev"
echo labhost > "$root/etc/hostname"
printf '127.0.0.1 localhost labhost\n::1 localhost\n' > "$root/etc/hosts"
printf 'UUID=%s / ext4 errors=remount-ro 0 1\n' "$uuid" > "$root/etc/fstab"
: > "$root/etc/resolv.conf"
cp "$root/etc/ssh/ssh_host_ed25519_key.pub" "$out/host_key.pub"

# The emulated NPU takes any firmware; a PC has linux-firmware.
for name in 1502_00 17f0_10 17f0_11; do
    mkdir -p "$root/usr/lib/firmware/amdnpu/$name"
    yes 'emulated firmware' | head -n 64 > "$root/usr/lib/firmware/amdnpu/$name/npu_7.sbin"
done

# What costs time at each boot and is of no use here: most of it is about hardware that QEMU has not.
here systemctl enable ssh.service
here systemctl disable kdump-tools.service
here systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer getty@.service getty-static.service kexec.service kexec-load.service \
    modprobe@configfs.service modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service \
    proc-sys-fs-binfmt_misc.automount systemd-binfmt.service systemd-hwdb-update.service \
    systemd-network-generator.service systemd-udev-load-credentials.service
mkdir -p "$root/etc/systemd/system-generators"
ln -s /dev/null "$root/etc/systemd/system-generators/systemd-ssh-generator" # asks for vsock
rm -f "$root/usr/lib/udev/hwdb.bin"
here update-initramfs -u -k all
rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/apt.conf.d/99mmdebstrap
here systemd-machine-id-setup >/dev/null 2>&1 || head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$root/etc/machine-id"

# GRUB, as grub-install would: it wants the disk that is not there yet. What update-grub asks of that disk is answered here.
cp "$out/ivrs.aml" "$root/boot/ivrs.aml"
mkdir -p "$root/boot/grub/i386-pc"
cp "$root"/usr/lib/grub/i386-pc/*.mod "$root"/usr/lib/grub/i386-pc/*.lst "$root/boot/grub/i386-pc/"
here grub-editenv /boot/grub/grubenv create
here grub-mkimage --format=i386-pc --output=/tmp/core.img --prefix='(hd0,msdos1)/boot/grub' biosdisk part_msdos ext2
mv "$root/tmp/core.img" "$out/core.img"
cp "$root/usr/lib/grub/i386-pc/boot.img" "$out/boot.img"
mv "$root/usr/sbin/grub-probe" "$root/usr/sbin/grub-probe.real"
cat > "$root/usr/sbin/grub-probe" <<PROBE
#!/bin/sh
case "\$*" in
*target=device*) echo /dev/vda1;;
*target=fs_uuid*) echo $uuid;;
*target=fs*) echo ext2;;
*target=partmap*) echo msdos;;
*target=compatibility_hint*) echo hd0,msdos1;;
esac
PROBE
chmod 755 "$root/usr/sbin/grub-probe"
here grub-mkconfig --output=/boot/grub/grub.cfg
mv "$root/usr/sbin/grub-probe.real" "$root/usr/sbin/grub-probe"

# Newer than anything in /usr, so that no boot looks for what an update would have to renew.
touch "$root/usr"
touch "$root/etc/.updated" "$root/var/.updated"

# The file system, behind the first MiB, which has the partition table and GRUB. GRUB cannot read the newest features.
export PATH="$PATH:/usr/sbin:/sbin"
fill() {
    mke2fs -q -t ext4 -O ^metadata_csum_seed,^orphan_file -E offset=1048576 -U "$uuid" -L lab -d "$1" "$out/disk.img" "$blocks"
}
if mountpoint -q "$root/proc"; then # seen without what is mounted in it
    bare=$out/bare
    mkdir "$bare"
    mount --bind "$root" "$bare"
    fill "$bare"
    umount "$bare"
    rmdir "$bare"
else
    fill "$root"
fi
