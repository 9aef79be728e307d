package org.microyolo.desktop

import java.io.File
import java.util.concurrent.ConcurrentHashMap
import java.util.jar.JarFile
import java.util.jar.JarOutputStream
import java.util.zip.ZipEntry
import org.objectweb.asm.ClassReader
import org.objectweb.asm.ClassVisitor
import org.objectweb.asm.ClassWriter
import org.objectweb.asm.Handle
import org.objectweb.asm.Label
import org.objectweb.asm.MethodVisitor
import org.objectweb.asm.Opcodes
import org.objectweb.asm.Type

/** How often each place in counted code made an object while it was asked to look. */
object Allocations {
    private val made = ConcurrentHashMap<String, Int>()

    @Volatile
    private var counting = false

    /** Called by counted code. */
    @JvmStatic
    fun made(place: String) {
        if (counting) made.merge(place, 1, Int::plus)
    }

    /** Place -> objects made there while [action] ran, on any thread. */
    fun during(action: () -> Unit): Map<String, Int> {
        made.clear()
        counting = true
        try {
            action()
        } finally {
            counting = false
        }
        return made.toSortedMap()
    }
}

/** Writes the jar [from] to [to] with a call of [Allocations.made] beside all that makes an object. */
fun countAllocations(from: File, to: File) {
    JarFile(from).use { jar ->
        JarOutputStream(to.outputStream()).use { out ->
            for (entry in jar.entries()) {
                if (entry.isDirectory) continue
                val bytes = jar.getInputStream(entry).use { it.readBytes() }
                out.putNextEntry(ZipEntry(entry.name))
                out.write(if (entry.name.endsWith(".class")) counted(bytes) else bytes)
            }
        }
    }
}

private fun counted(bytes: ByteArray): ByteArray {
    val reader = ClassReader(bytes)
    val writer = ClassWriter(reader, ClassWriter.COMPUTE_MAXS)
    reader.accept(CountedClass(writer), 0)
    return writer.toByteArray()
}

private class CountedClass(next: ClassVisitor) : ClassVisitor(Opcodes.ASM9, next) {
    private var name = ""

    override fun visit(version: Int, access: Int, name: String, sign: String?, parent: String?, faces: Array<String>?) {
        this.name = name.substringAfterLast('/')
        super.visit(version, access, name, sign, parent, faces)
    }

    override fun visitMethod(
        access: Int,
        name: String,
        descriptor: String,
        sign: String?,
        errors: Array<String>?
    ): MethodVisitor = CountedMethod("${this.name}.$name", super.visitMethod(access, name, descriptor, sign, errors))
}

private class CountedMethod(private val where: String, next: MethodVisitor?) : MethodVisitor(Opcodes.ASM9, next) {
    private var line = 0

    private fun count(what: String) {
        super.visitLdcInsn("$where:$line $what")
        val owner = "org/microyolo/desktop/Allocations"
        super.visitMethodInsn(Opcodes.INVOKESTATIC, owner, "made", "(Ljava/lang/String;)V", false)
    }

    override fun visitLineNumber(line: Int, start: Label) {
        this.line = line
        super.visitLineNumber(line, start)
    }

    override fun visitTypeInsn(opcode: Int, type: String) {
        super.visitTypeInsn(opcode, type)
        // Behind it, for where a NEW stands is written down elsewhere too.
        if (opcode == Opcodes.NEW || opcode == Opcodes.ANEWARRAY) count(type.substringAfterLast('/'))
    }

    override fun visitIntInsn(opcode: Int, operand: Int) {
        if (opcode == Opcodes.NEWARRAY) count("array")
        super.visitIntInsn(opcode, operand)
    }

    override fun visitMultiANewArrayInsn(descriptor: String, dimensions: Int) {
        count("array")
        super.visitMultiANewArrayInsn(descriptor, dimensions)
    }

    override fun visitMethodInsn(opcode: Int, owner: String, name: String, descriptor: String, isInterface: Boolean) {
        // Numbers as objects, and what walks over a collection.
        val boxes = opcode == Opcodes.INVOKESTATIC && owner.startsWith("java/lang/") && name == "valueOf"
        if (boxes || name == "iterator") count("$owner.$name".substringAfterLast('/'))
        super.visitMethodInsn(opcode, owner, name, descriptor, isInterface)
    }

    override fun visitInvokeDynamicInsn(name: String, descriptor: String, by: Handle, vararg arguments: Any) {
        // A lambda that knows nothing of its surroundings is made once.
        if (Type.getArgumentTypes(descriptor).isNotEmpty()) count("lambda")
        super.visitInvokeDynamicInsn(name, descriptor, by, *arguments)
    }
}
