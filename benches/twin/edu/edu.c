/*
 * DriverEntry, AddDevice, and the end of a device.
 */
#include "edu.h"

/* The interface of the sample, so that whoever asks for factorials can ask either driver. */
static const GUID EduInterface = {0xE405C0F4, 0x2E44, 0x41CA, {0x9B, 0xA9, 0x0F, 0x88, 0xFD, 0x72, 0x87, 0x99}};

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD EduUnload;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverExtension->AddDevice = EduAddDevice;
    Driver->DriverUnload = EduUnload;
    Driver->MajorFunction[IRP_MJ_CREATE] = EduCreate;
    Driver->MajorFunction[IRP_MJ_CLEANUP] = EduCleanup;
    Driver->MajorFunction[IRP_MJ_CLOSE] = EduClose;
    Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = EduDeviceControl;
    Driver->MajorFunction[IRP_MJ_PNP] = EduPnp;
    Driver->MajorFunction[IRP_MJ_POWER] = EduPower;
    Driver->MajorFunction[IRP_MJ_SYSTEM_CONTROL] = EduSystemControl;
    DbgPrint("edu: driver loaded\n");
    return STATUS_SUCCESS;
}

static VOID NTAPI EduUnload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    DbgPrint("edu: driver unloaded\n");
}

NTSTATUS NTAPI EduAddDevice(PDRIVER_OBJECT Driver, PDEVICE_OBJECT Physical)
{
    PDEVICE_OBJECT object;
    PEDU_DEVICE device;
    PDEVICE_OBJECT lower;
    NTSTATUS status;

    status = IoCreateDevice(Driver, sizeof(EDU_DEVICE), NULL, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE,
                            &object);
    if (!NT_SUCCESS(status)) {
        return status;
    }
    device = EduDevice(object);
    device->Physical = Physical;
    device->Lower = Physical;
    IoInitializeRemoveLock(&device->RemoveLock, EDU_TAG, 0, 0);
    KeInitializeSpinLock(&device->HardwareLock);
    status = EduQueueInitialize(device);
    if (!NT_SUCCESS(status)) {
        goto DeleteDevice;
    }
    status = IoRegisterDeviceInterface(Physical, &EduInterface, NULL, &device->InterfaceLink);
    if (!NT_SUCCESS(status)) {
        goto DeleteDevice;
    }
    /* Power IRPs then come at PASSIVE_LEVEL, where one may wait for the device. */
    object->Flags |= DO_POWER_PAGABLE;
    lower = IoAttachDeviceToDeviceStack(object, Physical);
    if (lower == NULL) {
        status = STATUS_NO_SUCH_DEVICE;
        goto FreeLink;
    }
    device->Lower = lower;
    object->Flags &= ~DO_DEVICE_INITIALIZING;
    DbgPrint("edu: attached to a device\n");
    return STATUS_SUCCESS;

FreeLink:
    RtlFreeUnicodeString(&device->InterfaceLink);
DeleteDevice:
    IoDeleteDevice(object);
    return status;
}

/* The hardware is released, and nobody uses the device any more. PASSIVE_LEVEL. */
VOID EduDeleteDevice(PDEVICE_OBJECT Object)
{
    PEDU_DEVICE device = EduDevice(Object);

    IoDetachDevice(device->Lower);
    RtlFreeUnicodeString(&device->InterfaceLink);
    IoDeleteDevice(Object);
}
