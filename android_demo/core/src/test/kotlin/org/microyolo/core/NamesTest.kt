package org.microyolo.core

import java.lang.reflect.Modifier
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** A class called as one that every Kotlin file imports by itself takes that one's place in its whole package. */
class NamesTest {
    private val imported =
        listOf("annotation", "collections", "comparisons", "io", "jvm", "ranges", "sequences", "text")
            .map { "kotlin.$it" } + listOf("kotlin", "java.lang")

    /** Those of them that are no classes of the JVM, or have another name there. */
    private val withoutClass =
        (
            "Annotation Any Array BooleanArray ByteArray Char CharArray DoubleArray FloatArray Int IntArray " +
                "LongArray Nothing ShortArray Comparator CharacterCodingException ConcurrentModificationException " +
                "NoSuchElementException ArrayList Collection HashMap HashSet Iterator LinkedHashMap LinkedHashSet " +
                "List ListIterator Map MutableCollection MutableIterable MutableIterator MutableList " +
                "MutableListIterator MutableMap MutableSet RandomAccess Set"
            ).split(" ").toSet()

    private val declaration = Regex("^ *(?:[a-z]+ )*(?:class|interface|object|typealias) (\\w+)", RegexOption.MULTILINE)

    private fun isTaken(name: String) = name in withoutClass || imported.any { exists("$it.$name") }

    private fun exists(name: String) = try {
        Modifier.isPublic(Class.forName(name, false, javaClass.classLoader).modifiers)
    } catch (_: ClassNotFoundException) {
        false
    } catch (_: NoClassDefFoundError) {
        // What a file system that does not tell upper from lower case says to a name in the wrong case.
        false
    }

    @Test
    fun `no class has a name that Kotlin imports by itself`() {
        for (name in listOf("Result", "Runtime", "List", "Regex", "Exception", "Any", "ArrayDeque")) {
            assertTrue(name, isTaken(name))
        }
        val sources =
            listOf("core/src", "app/src", "verify")
                .flatMap { Golden.project.resolve(it).walk().filter { file -> file.extension == "kt" } }
        val declared =
            sources.flatMap { file -> declaration.findAll(file.readText()).map { file.name to it.groupValues[1] } }
        assertTrue("$declared", "Engine.kt" to "Engine" in declared && "Attached.kt" to "Reader" in declared)
        assertEquals(emptyList<Pair<String, String>>(), declared.filter { (_, name) -> isTaken(name) })
    }
}
